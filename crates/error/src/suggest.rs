use crate::one_line;

/// From 0 to 1: how much alike two names are, of which one may be meant for the other.
const NEAR: f64 = 0.8;

/// The candidate nearest to `name`, when one is near enough to be meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    // Names of such different lengths are not near, and a guest's may be very long: comparing takes their product.
    let alike = |candidate: &&str| candidate.len() <= 4 * name.len() && name.len() <= 4 * candidate.len();
    let likeness = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        let score = strsim::jaro_winkler(&lower, &candidate);
        // Of short names one slip of the finger is a large part: `rnu` for `run`.
        let one_slip = (3..8).contains(&lower.len()) && strsim::osa_distance(&lower, &candidate) == 1;
        if one_slip { score.max(NEAR) } else { score }
    };
    candidates
        .into_iter()
        .filter(alike)
        .map(|candidate| (likeness(candidate), candidate))
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// `did you mean "x"?`, or the known names, each once, where none is near, or that there is none.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(near) = nearest(name, candidates.clone()) {
        return format!("did you mean \"{}\"?", one_line(near));
    }
    let mut known: Vec<&str> = Vec::new();
    for candidate in candidates {
        if !known.contains(&candidate) {
            known.push(candidate);
        }
    }
    let first = known[..known.len().min(12)].join(", ");
    let first = one_line(&first);
    match known.len() {
        0 => "there is none at all".to_owned(),
        1..=12 => format!("known: {first}"),
        more => format!("known: {first}, … ({more} in all)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        assert_eq!(nearest("handle_exce", ["handle_exec", "handle_exit"]), Some("handle_exec"));
        assert_eq!(nearest("zebra", ["handle_exec"]), None);
        assert_eq!(nearest("rnu", ["sign", "run", "record"]), Some("run"));
        assert_eq!(nearest("ru", ["sign", "rx"]), None);
        assert_eq!(did_you_mean("zebra", ["a", "b", "a"]), "known: a, b");
        assert_eq!(did_you_mean("zebra", []), "there is none at all");
        assert_eq!(did_you_mean("zebra", ["a\nb"]), "known: a\\nb");
    }
}
