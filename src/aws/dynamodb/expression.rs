//! Our writes and queries as the SDK spells them.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};

use super::value::{item_to_sdk, to_sdk};
use super::{Deed, Item, Query, Rows, Write};
use crate::aws::{Error, ErrorKind};

type Names = Option<HashMap<String, String>>;
type Values = Option<HashMap<String, AttributeValue>>;

/// A value was read from the table in a type adstage never writes, and somebody wants to write it back.
pub(super) fn unwritable() -> Error {
    Error::new("TransactWriteItems", ErrorKind::Invalid, "", "an attribute has a type adstage never writes")
}

/// DynamoDB refuses empty maps of placeholders.
pub(super) fn placeholders(write: &Write) -> Result<(Names, Values), Error> {
    let names: HashMap<_, _> = write.names.iter().map(|(placeholder, name)| (placeholder.clone(), name.clone())).collect();
    let value = |(placeholder, value)| Some((String::clone(placeholder), to_sdk(value)?));
    let values: HashMap<_, _> = write.values.iter().map(value).collect::<Option<_>>().ok_or_else(unwritable)?;
    Ok(((!names.is_empty()).then_some(names), (!values.is_empty()).then_some(values)))
}

/// One write of a transaction, which tells the row as it is when its condition is false.
pub(super) fn transact_item(table: &str, write: &Write) -> Result<TransactWriteItem, Error> {
    let (names, values) = placeholders(write)?;
    let (condition, old) = (write.condition.clone(), ReturnValuesOnConditionCheckFailure::AllOld);
    let incomplete = |error: BuildError| Error::new("TransactWriteItems", ErrorKind::Invalid, "", error.to_string());
    let item = TransactWriteItem::builder();
    Ok(match &write.deed {
        Deed::Put(row) => {
            let put = Put::builder().table_name(table).set_item(Some(item_to_sdk(row).ok_or_else(unwritable)?));
            let put = put.set_condition_expression(condition).set_expression_attribute_names(names);
            let put = put.set_expression_attribute_values(values).return_values_on_condition_check_failure(old);
            item.put(put.build().map_err(incomplete)?)
        }
        Deed::Update(key, expression) => {
            let update = Update::builder().table_name(table).set_key(item_to_sdk(&key.item())).update_expression(expression);
            let update = update.set_condition_expression(condition).set_expression_attribute_names(names);
            let update = update.set_expression_attribute_values(values).return_values_on_condition_check_failure(old);
            item.update(update.build().map_err(incomplete)?)
        }
        Deed::Delete(key) => {
            let delete = Delete::builder().table_name(table).set_key(item_to_sdk(&key.item()));
            let delete = delete.set_condition_expression(condition).set_expression_attribute_names(names);
            let delete = delete.set_expression_attribute_values(values).return_values_on_condition_check_failure(old);
            item.delete(delete.build().map_err(incomplete)?)
        }
        Deed::Check(key) => {
            let check = ConditionCheck::builder().table_name(table).set_key(item_to_sdk(&key.item()));
            let check = check.set_condition_expression(condition).set_expression_attribute_names(names);
            let check = check.set_expression_attribute_values(values).return_values_on_condition_check_failure(old);
            item.condition_check(check.build().map_err(incomplete)?)
        }
    }
    .build())
}

/// A query's expressions.
pub(super) struct QueryExpression {
    pub(super) condition: String,
    pub(super) filter: Option<String>,
    pub(super) names: Names,
    pub(super) values: Item,
}

pub(super) fn key_condition(query: &Query) -> QueryExpression {
    let mut values: Item = [(":pk".to_string(), query.pk.as_str().into())].into();
    let condition = match &query.rows {
        Rows::Prefix(prefix) => {
            values.insert(":from".to_string(), prefix.as_str().into());
            "pk = :pk AND begins_with(sk, :from)"
        }
        Rows::Between(first, last) => {
            values.insert(":from".to_string(), first.as_str().into());
            values.insert(":to".to_string(), last.as_str().into());
            "pk = :pk AND sk BETWEEN :from AND :to"
        }
    };
    let names = query.having.as_ref().map(|attribute| HashMap::from([("#having".to_string(), attribute.clone())]));
    let filter = query.having.as_ref().map(|_| "attribute_exists(#having)".to_string());
    QueryExpression { condition: condition.to_string(), filter, names, values }
}
