//! The vCPU quotas of EC2: one per class of instance types and way of buying (*Amazon EC2 instance type quotas*, *Spot Instance quotas*).

use super::CapacityKind;

/// A quota of Service Quotas, of the service `ec2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Its code, the same in every account and Region.
    pub code: &'static str,
    /// What AWS calls it.
    pub name: &'static str,
}

struct Class {
    /// What the names of its types begin with, up to the first digit.
    families: &'static [&'static str],
    on_demand: Quota,
    /// None: there is no spot of it, or several quotas share it.
    spot: Option<Quota>,
}

const fn quota(code: &'static str, name: &'static str) -> Quota {
    Quota { code, name }
}

const CLASSES: [Class; 8] = [
    Class {
        families: &["a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z"],
        on_demand: quota("L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"),
        spot: Some(quota("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests")),
    },
    Class {
        families: &["g", "gr", "vt"],
        on_demand: quota("L-DB2E81BA", "Running On-Demand G and VT instances"),
        spot: Some(quota("L-3819A6DF", "All G and VT Spot Instance Requests")),
    },
    // P5 has a spot quota of its own beside that of the older ones.
    Class { families: &["p"], on_demand: quota("L-417A185B", "Running On-Demand P instances"), spot: None },
    Class {
        families: &["f"],
        on_demand: quota("L-74FC7D96", "Running On-Demand F instances"),
        spot: Some(quota("L-88CF9481", "All F Spot Instance Requests")),
    },
    Class {
        families: &["x"],
        on_demand: quota("L-7295265B", "Running On-Demand X instances"),
        spot: Some(quota("L-E3A00192", "All X Spot Instance Requests")),
    },
    Class {
        families: &["inf"],
        on_demand: quota("L-1945791B", "Running On-Demand Inf instances"),
        spot: Some(quota("L-B5D1601B", "All Inf Spot Instance Requests")),
    },
    Class {
        families: &["trn"],
        on_demand: quota("L-2C3B7624", "Running On-Demand Trn instances"),
        spot: Some(quota("L-6B0D517C", "All Trn Spot Instance Requests")),
    },
    Class {
        families: &["dl"],
        on_demand: quota("L-6E869C2A", "Running On-Demand DL instances"),
        spot: Some(quota("L-85EED4F7", "All DL Spot Instance Requests")),
    },
];

impl Quota {
    /// The quota that the vCPUs of such an instance count against, if it is known here.
    pub fn of(instance_type: &str, kind: CapacityKind) -> Option<Self> {
        let family: String = instance_type.chars().take_while(char::is_ascii_lowercase).collect();
        let class = CLASSES.iter().find(|class| class.families.contains(&family.as_str()))?;
        match kind {
            CapacityKind::OnDemand => Some(class.on_demand),
            CapacityKind::Spot => class.spot,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_told_by_all_its_letters() {
        let code = |kind: &str| Quota::of(kind, CapacityKind::OnDemand).map(|quota| quota.code);
        assert_eq!(["m7i.large", "t3.nano", "i7ie.large", "im4gn.large", "c7i-flex.large"].map(code), [Some("L-1216C47A"); 5]);
        assert_eq!(["inf2.xlarge", "dl1.24xlarge"].map(code), [Some("L-1945791B"), Some("L-6E869C2A")]);
        assert_eq!(["u-6tb1.metal", "mac2.metal", "hpc7a.96xlarge", "", "Large"].map(code), [None; 5]);
    }

    #[test]
    fn spot_has_quotas_of_its_own() {
        let code = |kind: &str| Quota::of(kind, CapacityKind::Spot).map(|quota| quota.code);
        assert_eq!((code("m7i.large"), code("g5.xlarge"), code("p5.48xlarge")), (Some("L-34B43A08"), Some("L-3819A6DF"), None));
    }
}
