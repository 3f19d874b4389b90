//! The pages show what is so: their YAML loads, and their commands do what they say.

mod commands;
mod statuses;
mod yaml;

/// A fenced block of a page.
pub struct Block {
    /// The word after the fence.
    pub language: String,
    /// The heading above it.
    pub heading: String,
    /// Its lines, without the indentation of the fence.
    pub text: String,
}

/// The fenced blocks of a page, in order.
fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut heading) = (Vec::new(), String::new());
    let mut open: Option<(usize, Block)> = None;
    for line in page.lines() {
        let bare = line.trim_start();
        let indent = line.len() - bare.len();
        match (&mut open, bare.strip_prefix("```")) {
            (None, Some(language)) => {
                let (language, heading) = (language.to_owned(), heading.clone());
                open = Some((indent, Block { language, heading, text: String::new() }));
            }
            (Some(_), Some(_)) => blocks.extend(open.take().map(|(_, block)| block)),
            (Some((indent, block)), None) => {
                block.text.push_str(line.get(*indent..).unwrap_or(bare));
                block.text.push('\n');
            }
            (None, None) if bare.starts_with('#') => {
                bare.trim_start_matches(['#', ' ']).clone_into(&mut heading);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// The inline code of a page, fenced blocks left out.
fn spans(page: &str) -> Vec<String> {
    let mut is_fenced = false;
    let mut text = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if !is_fenced {
            text.push_str(line.trim_start());
            text.push('\n');
        }
    }
    let paragraphs = text.split("\n\n");
    let spans = paragraphs.flat_map(|text| text.split('`').skip(1).step_by(2));
    spans.map(|span| span.replace('\n', " ")).collect()
}
