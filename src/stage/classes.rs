//! Class tables: which word stands for which class, and what its prompts end with.

use std::path::Path;

use dream_schema::ClassEmbedding;

use super::StageError;
use crate::dataset::ClassFolder;

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

/// Reads a class table: tab-separated, with a header that names at least `name` and `token_word`;
/// `prompt_suffix` and `wnid` (the name of the class's directory) are optional.
///
/// # Errors
/// If it cannot be read, lacks a column, or a row is too short.
pub fn read_classes(path: &Path) -> Result<Vec<ClassRow>, StageError> {
    let wrong = |message: String| StageError::File {
        path: path.to_owned(),
        message,
    };
    let text = std::fs::read_to_string(path).map_err(StageError::access(path))?;
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
    let header: Vec<&str> = lines
        .next()
        .map(|(_, line)| line.split('\t').collect())
        .unwrap_or_default();
    let column = |name: &str| header.iter().position(|h| *h == name);
    let needed = |name: &str| column(name).ok_or_else(|| wrong(format!("the header has no column `{name}`")));
    let (name, word, suffix) = (needed("name")?, needed("token_word")?, column("prompt_suffix"));
    let folder = column("wnid");
    let row = |(number, line): (usize, &str)| -> Result<ClassRow, StageError> {
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |column: usize, what: &str| match cells.get(column) {
            Some(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
            _ => Err(wrong(format!("line {}: there is no {what}", number + 1))),
        };
        // A suffix keeps the space it starts with: it is put right behind the prompt.
        let suffix = suffix.and_then(|c| cells.get(c)).map_or("", |s| s.trim_end());
        Ok(ClassRow {
            name: cell(name, "name")?,
            word: cell(word, "token_word")?,
            suffix: suffix.to_owned(),
            folder: folder.map(|c| cell(c, "wnid")).transpose()?,
        })
    };
    let rows = lines.map(row).collect::<Result<Vec<_>, _>>()?;
    if rows.is_empty() {
        Err(wrong("there is no class in it".into()))
    } else {
        Ok(rows)
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
}
