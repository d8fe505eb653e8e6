//! The page of the documentation that lists every condition, kept equal to the catalogue by a test.

use super::Kind;

/// docs/errors.md as the catalogue has it.
fn page() -> String {
    let mut page = String::from(
        "# Error codes\n\n\
         Written from the catalogue by `FF_WRITE_DOCS=1 cargo test --lib errors_page`; do not edit. How to read \
         and\nhandle errors: [reference/errors.md](reference/errors.md).\n\n\
         **Shows as** `error`: raised. `outcome`: normally an outcome word of the same meaning, raised only by \
         functions\nwithout an outcome column. `—`: reserved, never raised.\n",
    );
    let mut group = "";
    for kind in Kind::ALL {
        if kind.group() != group {
            group = kind.group();
            let digits = kind.sqlstate().get(..3).unwrap_or_default();
            page.push_str(&format!("\n## {digits}xx {}\n\n", group.replace('_', " ")));
            page.push_str("| SQLSTATE | Kind | Advice | Shows as | Meaning | What to do |\n|---|---|---|---|---|---|\n");
        }
        let shows = match kind.surface() {
            "E" => "error",
            "O" => "outcome",
            other => other,
        };
        let hint = if shows == "—" { "" } else { kind.hint() };
        page.push_str(&format!(
            "| {} | `{}` | {} | {shows} | {} | {hint} |\n",
            kind.sqlstate(),
            kind.name(),
            kind.advice(),
            kind.summary(),
        ));
    }
    page
}

#[test]
fn errors_page_equals_the_catalogue() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md");
    if std::env::var_os("FF_WRITE_DOCS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page(),
        "docs/errors.md is behind the catalogue: FF_WRITE_DOCS=1 cargo test --lib errors_page"
    );
}
