//! The blocks of the documents, and what is known of each kind.

use std::fs;
use std::path::{Path, PathBuf};

/// What stands between two fences.
#[derive(Clone, Debug)]
pub struct Block {
    pub page: String,
    pub line: usize,
    pub language: String,
    pub text: String,
}

impl Block {
    pub fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page of the repository, from its top.
pub fn pages() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        ["", ".github", "benches", "envoy", "policies", "tests"].map(|name| root().join(name)).into();
    folders.extend(fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path()));
    let files = folders.iter().filter(|path| path.is_dir()).flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut pages: Vec<PathBuf> =
        files.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    pages.sort();
    pages
}

/// All blocks of all pages.
pub fn blocks() -> Vec<Block> {
    let mut found = Vec::new();
    for path in pages() {
        let page = path.strip_prefix(root()).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        let mut open: Option<(usize, Block)> = None;
        for (number, line) in text.lines().enumerate() {
            let bare = line.trim_start();
            match (&mut open, bare.strip_prefix("```")) {
                (None, Some(language)) => {
                    let block =
                        Block { page: page.clone(), line: number + 1, language: language.into(), text: String::new() };
                    open = Some((line.len() - bare.len(), block));
                }
                (Some(_), Some(_)) => found.extend(open.take().map(|(_, block)| block)),
                (Some((indent, block)), None) => {
                    block.text.push_str(line.get(*indent..).unwrap_or_default());
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{page}: a block that does not end");
    }
    found
}

pub fn of(languages: &[&str]) -> Vec<Block> {
    blocks().into_iter().filter(|block| languages.contains(&block.language.as_str())).collect()
}

/// Pages whose block of text is what something printed, and the test that holds the one against the other; or a drawing.
const SHOWN: [(&str, &str); 5] = [
    ("README.md", "tests/e2e/examples.rs"),
    ("examples/chat/README.md", "tests/e2e/examples.rs"),
    ("examples/edge/README.md", "tests/e2e/examples.rs"),
    ("examples/grpc/README.md", "tests/e2e/examples.rs"),
    ("envoy/attempts.md", "a drawing"),
];

#[test]
fn every_block_is_of_a_kind_that_is_tried() {
    let all = blocks();
    assert!(all.len() > 30, "{}", all.len());
    for block in all {
        let place = block.place();
        match block.language.as_str() {
            // Tried in `commands.rs` and `snippets.rs`, each of which knows every one or fails.
            "sh" | "console" | "yaml" | "json" => {}
            "text" => {
                let shown = SHOWN.iter().find(|(page, _)| *page == block.page);
                let (page, by) =
                    shown.unwrap_or_else(|| panic!("{place}: who holds this text against what is printed?"));
                assert!(
                    !by.ends_with(".rs") || fs::read_to_string(root().join(by)).unwrap().contains(page),
                    "{by} does not speak of {page}"
                );
            }
            "mermaid" => assert!(block.text.starts_with("flowchart "), "{place}"),
            // The test that a page shows is one that is run.
            "rust" => {
                let tests = fs::read_to_string(root().join("tests/e2e/harness.rs")).unwrap();
                assert!(tests.contains(block.text.trim()), "{place}: not in tests/e2e/harness.rs");
            }
            other => panic!("{place}: blocks of kind `{other}` are not known"),
        }
    }
}
