//! A plan as people read it: one screen, numbered, in the order things happen.

use crate::model::OperationKind;

use super::{Backward, Course, Onward, Plan, Stage, StageName, Step};

/// Header, notes, then every deed.
pub fn render(plan: &Plan) -> Vec<String> {
    let mut lines = vec![header(plan)];
    lines.extend(plan.notes.iter().map(|note| format!("  note  {note}")));
    let mut shown = None;
    let mut number = 0;
    for stage in &plan.stages {
        for text in deeds(stage) {
            number += 1;
            let name = if shown == Some(stage.name) { String::new() } else { stage.name.to_string() };
            shown = Some(stage.name);
            lines.push(format!("{number:>3} {name:<9} {text}"));
        }
    }
    lines
}

/// What remains of a plan: what is to be done, deed by deed; what is done already is counted.
pub fn render_course(plan: &Plan, course: &Course) -> Vec<String> {
    let mut remaining = Vec::new();
    let mut done = 0;
    let mut line = |stage: StageName, text: String| remaining.push(format!("{stage:<9} {text}"));
    match course {
        Course::Forward(course) => {
            for (stage, step, act) in each(plan, course) {
                match act {
                    Onward::Run => line(stage.name, step.to_string()),
                    Onward::Found(_) | Onward::Done => done += 1,
                }
            }
        }
        Course::Back(course) => {
            for (stage, step, act) in each(plan, course).into_iter().rev() {
                match act {
                    Backward::Undo => line(stage.name, format!("undo: {step}")),
                    Backward::LookAgain => line(stage.name, format!("look again, and undo: {step}")),
                    Backward::Nothing(_) | Backward::Done => done += 1,
                }
            }
        }
    }
    let total = plan.stages.iter().map(|stage| stage.steps.len()).sum::<usize>();
    let left = match course {
        Course::Forward(_) => format!("  {done} of {total} steps are done"),
        Course::Back(_) => format!("  {done} of {total} steps need no undoing"),
    };
    std::iter::once(left).chain(remaining.into_iter().zip(1..).map(|(text, number)| format!("{number:>3} {text}"))).collect()
}

fn each<'p, T>(plan: &'p Plan, course: &'p [Vec<T>]) -> Vec<(&'p Stage, &'p Step, &'p T)> {
    let stages = plan.stages.iter().zip(course);
    stages.flat_map(|(stage, acts)| stage.steps.iter().zip(acts).map(move |(step, act)| (stage, step, act))).collect()
}

fn header(plan: &Plan) -> String {
    let release = plan.release.as_ref();
    let of = release.map(|release| format!("{} ({}, {})", release.number, release.image_name, release.image)).unwrap_or_default();
    let number = release.map(|release| release.number.to_string()).unwrap_or_default();
    let nothing = plan.stages.is_empty();
    match (plan.kind, plan.previous) {
        (OperationKind::Scale, _) if nothing => "nothing to change".to_string(),
        (OperationKind::Scale, _) => "other sizes".to_string(),
        (OperationKind::Setup, _) if nothing => "nothing is missing".to_string(),
        (OperationKind::Setup, _) => "what is missing is made".to_string(),
        (OperationKind::Bake, _) if nothing => "nothing to bake".to_string(),
        (OperationKind::Bake, _) => "an image is baked and proved".to_string(),
        (OperationKind::Images, _) if nothing => "nothing to do".to_string(),
        (OperationKind::Images, _) if removes(plan) => "images nobody needs are removed".to_string(),
        (OperationKind::Images, _) => "an image goes to where else it is needed".to_string(),
        (OperationKind::Review, _) if nothing => "nothing to do".to_string(),
        (OperationKind::Review, _) => super::review::header(plan),
        (_, None) if nothing => format!("{of} stays live"),
        (OperationKind::Deploy, Some(previous)) => format!("{of} replaces {previous}"),
        (OperationKind::Deploy, None) if plan.new_release => format!("{of} is the first release"),
        (OperationKind::Rollback, Some(previous)) => format!("back from {previous} to {of}"),
        (OperationKind::Deploy | OperationKind::Rollback, None) if release.is_some() => format!("{number} stays live"),
        (OperationKind::Deploy | OperationKind::Rollback, None) => "nothing is released, as before".to_string(),
    }
}

fn removes(plan: &Plan) -> bool {
    plan.stages.iter().flat_map(|stage| &stage.steps).any(|step| matches!(step, Step::DeleteImage { .. }))
}

/// One line per deed, but what every fleet needs in the same way only once.
fn deeds(stage: &Stage) -> Vec<String> {
    let mut lines: Vec<(&str, String)> = Vec::new();
    for step in &stage.steps {
        let (what, fleet) = match step {
            Step::CreateLaunchTemplate { fleet, template } => {
                (format!("template from {}, {}", template.image, template.instance_type), fleet)
            }
            Step::CreateTargetGroup { fleet, .. } => ("target group".to_string(), fleet),
            Step::CreateTestRule { fleet } => ("test rule no visitor can match".to_string(), fleet),
            other => {
                // Retiring says so itself, wherever it is named.
                let said = other.has_way_back() || matches!(other, Step::RetireFleet { .. });
                let mark = if said { "" } else { " (no way back)" };
                lines.push(("", format!("{other}{mark}")));
                continue;
            }
        };
        let kind = match step {
            Step::CreateLaunchTemplate { .. } => "template",
            Step::CreateTargetGroup { .. } => "target group",
            _ => "test rule",
        };
        match lines.iter_mut().find(|(seen, line)| *seen == kind && line.starts_with(&what)) {
            Some((_, line)) => line.push_str(&format!(", {fleet}")),
            None => lines.push((kind, format!("{what}: {fleet}"))),
        }
    }
    lines.into_iter().map(|(_, line)| line).collect()
}
