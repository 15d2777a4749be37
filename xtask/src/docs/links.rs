use super::Page;
use crate::process::root;

/// Links of a page to files that are not there. Links to the network are not followed.
pub(super) fn check(page: &Page) -> Vec<String> {
    let dir = page.path.parent().map_or_else(root, ToOwned::to_owned);
    targets(&page.text)
        .filter(|target| !target.contains("://") && !target.starts_with(['#', '/']) && !target.starts_with("mailto:"))
        .filter(|target| !dir.join(target.split('#').next().unwrap_or(target)).exists())
        .map(|target| format!("{}: a link leads nowhere: {target}", page.name()))
        .collect()
}

/// Pages of the book that its table of contents leaves out.
pub(super) fn unlisted(pages: &[Page]) -> Vec<String> {
    let book = root().join("docs/src");
    let Some(summary) = pages.iter().find(|page| page.path == book.join("SUMMARY.md")) else {
        return vec!["docs/src/SUMMARY.md is missing".to_owned()];
    };
    let listed: Vec<_> = targets(&summary.text).map(|target| book.join(target)).collect();
    pages
        .iter()
        .filter(|page| page.path.starts_with(&book) && page.path != summary.path && !listed.contains(&page.path))
        .map(|page| format!("{} is not in docs/src/SUMMARY.md", page.name()))
        .collect()
}

/// What the links in a text point at: `[…](target)`, outside code blocks.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    let prose = text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    });
    prose.flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split(')').next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_in_prose_only() {
        let text = "see [a](a.md) and [b](b.md#part)\n```c\nx[i](not)\n```\n[c](https://example.org)";
        assert_eq!(targets(text).collect::<Vec<_>>(), ["a.md", "b.md#part", "https://example.org"]);
    }
}
