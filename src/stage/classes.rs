//! Class tables: which word stands for which class, and what its prompts end with.

use std::path::Path;

use dream_schema::ClassEmbedding;

use super::StageError;
use crate::content::{self, Content};
use crate::dataset::{self, ClassFolder};
use crate::input;

/// A row of a class table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassRow {
    /// Name of the class.
    pub name: String,
    /// The one token that stands for it.
    pub word: String,
    /// What follows the prompt for this class.
    pub suffix: String,
    /// Name of its directory in image folders, where that is another than its own: a WordNet id.
    pub folder: Option<String>,
}

impl ClassRow {
    /// Returns the class with the directory that holds its images: of its own name if the table gives no
    /// other.
    pub fn class_folder(&self) -> ClassFolder {
        ClassFolder {
            folder: self.folder.clone().unwrap_or_else(|| self.name.clone()),
            name: self.name.clone(),
        }
    }
}

/// Reads a class table: separated by tabs, or by commas or semicolons with cells in quotes where needed, with
/// a header that names at least `name` and `token_word`; `prompt_suffix`, `wnid` (the name of the class's
/// directory) and `class_id` (its number; without it, classes are numbered by line) are optional. A byte
/// order mark is passed over, and lines that begin with `#`.
///
/// # Errors
/// If it cannot be read, lacks a column, a row is too short, or two classes cannot be told apart by name.
pub fn read_classes(path: &Path) -> Result<Vec<ClassRow>, StageError> {
    let wrong = |message: String| StageError::File {
        path: path.to_owned(),
        message,
    };
    let bytes = input::given(path, input::TABLE).map_err(StageError::access(path))?;
    parse_classes(&bytes).map_err(wrong)
}

/// Reads the bytes of a class table.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn parse_classes(bytes: &[u8]) -> Result<Vec<ClassRow>, String> {
    if Content::is_lfs_pointer(bytes) {
        return Err(content::POINTER.to_owned());
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("it is text in UTF-16; UTF-8 is read".to_owned());
    }
    let text = std::str::from_utf8(bytes).map_err(|e| format!("it is no text in UTF-8: {e}"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Old programs end lines with a carriage return alone.
    let ends = if text.contains('\n') { '\n' } else { '\r' };
    let mut lines = text
        .split(ends)
        .map(|line| line.trim_end_matches('\r'))
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let first = lines.next().map(|(_, line)| line).unwrap_or_default();
    let separator = ['\t', ',', ';']
        .into_iter()
        .find(|c| first.contains(*c))
        .unwrap_or('\t');
    let header: Vec<String> = cells(first, separator)?
        .iter()
        .map(|cell| cell.trim().to_owned())
        .collect();
    let column = |name: &str| header.iter().position(|h| h.eq_ignore_ascii_case(name));
    let needed = |name: &str| {
        column(name).ok_or_else(|| format!("the header has no column `{name}`; it has {}", header.join(", ")))
    };
    let twice = |(place, name): &(usize, &String)| column(name).is_some_and(|first| first < *place);
    if let Some((_, name)) = header.iter().enumerate().find(twice) {
        return Err(format!("the header has the column `{name}` twice"));
    }
    let (name, word, suffix) = (needed("name")?, needed("token_word")?, column("prompt_suffix"));
    let folder = column("wnid");
    let row = |(number, line): (usize, &str)| -> Result<ClassRow, String> {
        let at = |message: String| format!("line {}: {message}", number + 1);
        let cells = cells(line, separator).map_err(at)?;
        let cell = |column: usize, what: &str| match cells.get(column) {
            Some(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
            _ => Err(at(format!("there is no {what}"))),
        };
        if cells.len() > header.len() {
            return Err(at(format!(
                "{} cells, the header has {}",
                cells.len(),
                header.len()
            )));
        }
        // A suffix keeps the space it starts with: it is put right behind the prompt.
        let suffix = suffix.and_then(|c| cells.get(c)).map_or("", |s| s.trim_end());
        Ok(ClassRow {
            name: cell(name, "name")?,
            word: cell(word, "token_word")?,
            suffix: suffix.to_owned(),
            folder: folder.map(|c| cell(c, "wnid")).transpose()?,
        })
    };
    let lines: Vec<(usize, &str)> = lines.collect();
    let rows = lines.iter().copied().map(row).collect::<Result<Vec<_>, _>>()?;
    if rows.is_empty() {
        return Err("there is no class in it".into());
    }
    let rows = match column("class_id") {
        Some(column) => by_number(rows, &lines, |line| {
            let cells = cells(line, separator)?;
            Ok(cells.get(column).map_or("", |cell| cell.trim()).to_owned())
        })?,
        None => rows,
    };
    let folders: Vec<String> = rows.iter().filter_map(|row| row.folder.clone()).collect();
    if let Some((first, second)) = dataset::alike(&folders) {
        let is_either = |row: &&ClassRow| {
            row.folder
                .as_deref()
                .is_some_and(|own| own == first || own == second)
        };
        let names: Vec<&str> = rows
            .iter()
            .filter(is_either)
            .map(|row| row.name.as_str())
            .collect();
        let [one, .., other] = names[..] else {
            return Err(format!("the wnid `{first}` is given twice"));
        };
        return Err(format!(
            "the wnid `{second}` is given to `{one}` and to `{other}`: one directory is one class"
        ));
    }
    match dataset::alike(rows.iter().map(|row| &row.name)) {
        None => Ok(rows),
        Some((first, second)) if first == second => Err(format!("the class `{first}` is named twice")),
        Some((first, second)) => Err(format!(
            "the classes `{first}` and `{second}` differ in nothing but Unicode's normal form"
        )),
    }
}

/// Classes in the order of their own numbers, which `number` finds in a line.
fn by_number(
    rows: Vec<ClassRow>,
    lines: &[(usize, &str)],
    number: impl Fn(&str) -> Result<String, String>,
) -> Result<Vec<ClassRow>, String> {
    let count = rows.len();
    let mut places: Vec<Option<ClassRow>> = vec![None; count];
    for (row, (line, text)) in rows.into_iter().zip(lines) {
        let own = number(text)?;
        let place = own.parse().ok().and_then(|number: usize| places.get_mut(number));
        match place {
            Some(place @ None) => *place = Some(row),
            Some(Some(_)) => return Err(format!("line {}: the class_id {own} is given twice", line + 1)),
            None => {
                return Err(format!(
                    "line {}: the class_id {own:?}; the {count} classes are numbered 0 to {}",
                    line + 1,
                    count - 1
                ));
            }
        }
    }
    Ok(places.into_iter().flatten().collect())
}

/// The cells of a line. A cell in double quotes may hold the separator, and a quote as two.
fn cells(line: &str, separator: char) -> Result<Vec<String>, String> {
    // A word in a table with tabs may hold a quote: only those around a whole cell are none of it.
    if separator == '\t' {
        let cell = |cell: &str| {
            let inner = cell
                .trim()
                .strip_prefix('"')
                .and_then(|cell| cell.strip_suffix('"'));
            inner.map_or_else(|| cell.to_owned(), |inner| inner.replace("\"\"", "\""))
        };
        return Ok(line.split(separator).map(cell).collect());
    }
    let (mut cells, mut rest) = (Vec::new(), line);
    loop {
        let Some(mut quoted) = rest.trim_start().strip_prefix('"') else {
            let (cell, after) = rest
                .split_once(separator)
                .map_or((rest, None), |(c, after)| (c, Some(after)));
            cells.push(cell.to_owned());
            match after {
                Some(after) => rest = after,
                None => return Ok(cells),
            }
            continue;
        };
        let mut cell = String::new();
        loop {
            let (part, after) = quoted.split_once('"').ok_or("a cell's quotes are not closed")?;
            cell.push_str(part);
            match after.strip_prefix('"') {
                Some(after) => {
                    cell.push('"');
                    quoted = after;
                }
                None => {
                    quoted = after;
                    break;
                }
            }
        }
        cells.push(cell);
        match quoted.strip_prefix(separator) {
            Some(after) => rest = after,
            None if quoted.trim().is_empty() => return Ok(cells),
            None => return Err("there is text behind a cell's quotes".to_owned()),
        }
    }
}

/// Returns the class of that name or, where none has it, of that number.
pub(crate) fn by_word<'a>(known: &'a [ClassEmbedding], word: &str) -> Option<&'a ClassEmbedding> {
    let by_name = known.iter().find(|class| class.class_name == word);
    by_name.or_else(|| {
        let number: u32 = word.parse().ok()?;
        known.iter().find(|class| class.class_id == number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(text: &str) -> Result<Vec<ClassRow>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read_classes(file.path()).map_err(|e| e.to_string())
    }

    /// Names as the set itself gives them, or `encode` would refuse it; CIFAR-100 numbers its classes by the
    /// alphabet.
    #[test]
    fn the_classes_of_cifar_100_are_named_as_in_the_set() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/classes/cifar100.tsv");
        let names: Vec<String> = read_classes(&path)
            .unwrap()
            .into_iter()
            .map(|row| row.name)
            .collect();
        assert_eq!(
            (names.len(), names[0].as_str(), names[1].as_str()),
            (100, "apple", "aquarium_fish")
        );
        assert!(names.is_sorted());
    }

    #[test]
    fn a_column_that_is_there_twice_is_refused() {
        let said = classes("name,name,token_word\nx,cat,cat\n").unwrap_err();
        assert!(said.contains("the header has the column `name` twice"), "{said}");
    }

    #[test]
    fn class_tables() {
        let rows =
            classes("class_id\tname\ttoken_word\tprompt_suffix\n0\ta hen\then\t\n1\tkite\tkite\t bird\n")
                .unwrap();
        assert_eq!(
            rows[0],
            ClassRow {
                name: "a hen".into(),
                word: "hen".into(),
                suffix: String::new(),
                folder: None,
            }
        );
        assert_eq!(rows[1].suffix, " bird");
        let rows = classes("wnid\tname\ttoken_word\nn01498041\tstingray\tstingray\n").unwrap();
        assert_eq!(rows[0].folder.as_deref(), Some("n01498041"));
        assert_eq!(rows[0].class_folder().folder, "n01498041");
        assert!(
            classes("name\tword\nhen\then\n")
                .unwrap_err()
                .contains("no column `token_word`")
        );
        assert!(
            classes("name\ttoken_word\nhen\n")
                .unwrap_err()
                .contains("line 2: there is no token_word")
        );
        assert!(classes("name\ttoken_word\n").unwrap_err().contains("no class"));
        assert!(classes("").unwrap_err().contains("no column"));
    }

    #[test]
    fn class_tables_as_spreadsheets_save_them() {
        let plain = classes("name\ttoken_word\tprompt_suffix\na, b\then\t, a bird\nkite\tkite\t\n").unwrap();
        for text in [
            "\u{feff}name\ttoken_word\tprompt_suffix\r\na, b\then\t, a bird\r\nkite\tkite\t\r\n",
            "\u{feff}name,token_word,prompt_suffix\r\n\"a, b\",hen,\", a bird\"\r\nkite,kite,\r\n",
            "name;token_word;prompt_suffix\n\"a, b\";hen;, a bird\nkite;kite\n",
        ] {
            assert_eq!(classes(text).unwrap(), plain, "{text:?}");
        }
        let quote = classes("name,token_word\n\"a \"\"b\"\"\",hen\n").unwrap();
        assert_eq!(quote[0].name, "a \"b\"");
        for (text, said) in [
            ("name,token_word\n\"hen,hen\n", "not closed"),
            ("name,token_word\n\"hen\"s,hen\n", "behind"),
            ("name,token_word\na,b,c\n", "3 cells"),
            ("name,token_word\nhen,hen\nhen,cock\n", "named twice"),
            (
                "name,token_word,wnid\ncat,cat,n1\ndog,dog,n1\n",
                "the wnid `n1` is given to `cat` and to `dog`",
            ),
            ("name,token_word\ncafe\u{301},a\ncaf\u{e9},b\n", "normal form"),
            (
                "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n",
                "git-lfs",
            ),
        ] {
            let error = classes(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn numbers_of_classes_are_obeyed() {
        let names =
            |text: &str| classes(text).map(|rows| rows.into_iter().map(|row| row.name).collect::<Vec<_>>());
        let table =
            |rows: &str| names(&format!("# ours\nClass_ID\tName\ttoken_word\r{rows}").replace('\r', "\n"));
        assert_eq!(table("1\tcat\tcat\r0\tshark\tshark").unwrap(), ["shark", "cat"]);
        let twice = table("1\tcat\tcat\r1\tshark\tshark").unwrap_err();
        assert!(
            twice.contains("line 4") && twice.contains("given twice"),
            "{twice}"
        );
        let far = table("0\tcat\tcat\r2\tshark\tshark").unwrap_err();
        assert!(far.contains("numbered 0 to 1"), "{far}");
        // Quotes around cells, spaces before them, and line ends of old Macs.
        assert_eq!(
            names("name\ttoken_word\n\"great shark\"\tshark\n").unwrap(),
            ["great shark"]
        );
        assert_eq!(names("name, token_word\n\"a, b\", \"b\"\n").unwrap(), ["a, b"]);
        assert_eq!(
            names("name\ttoken_word\rcat\tcat\rdog\tdog").unwrap(),
            ["cat", "dog"]
        );
    }
}
