//! Labels in files beside pictures: `metadata.csv` and `metadata.jsonl` of Hugging Face's image folders, with
//! a column `file_name`, and the `.cls` files of WebDataset's shards, with a number for the picture of the
//! same name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::error::DatasetError;
use super::item::Stored;
use super::names::{is_split, whole_number};
use super::tree::{Node, extension};

/// What the columns of labels are called, here and in Parquet files.
pub(super) const LABEL_COLUMNS: [&str; 4] = ["label", "labels", "fine_label", "cls"];

/// What columns are called that are labels where nothing else in a table says what it is.
pub(super) const OTHER_LABELS: [&str; 16] = [
    "target",
    "targets",
    "class",
    "class_id",
    "class_idx",
    "class_name",
    "category",
    "label_id",
    "label_ids",
    "label_idx",
    "label_name",
    "fine_labels",
    "gt",
    "ground_truth",
    "y",
    "y_true",
];

/// What columns are called that say the class's name beside its number.
const NAME_COLUMNS: [&str; 3] = ["class_name", "label_name", "category"];

/// How tables beside pictures call these.
const FILE_COLUMNS: [&str; 3] = ["file_name", "filename", "file"];

/// The label of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Label {
    None,
    Number(u32),
    /// A class by name, and its number where both are said.
    Class {
        name: String,
        number: Option<u32>,
    },
}

/// Pictures by path with their labels.
pub(super) type Pictures = Vec<(String, Stored, Label)>;

/// Pictures whose labels stand in files beside them.
pub(super) struct Labelled {
    pub pictures: Pictures,
    /// What these files say beside the labels, which is not read.
    pub unread: Vec<String>,
}

/// Whether a file of that name may say labels.
pub(super) fn is_table(name: &str) -> bool {
    matches!(name, "metadata.csv" | "metadata.jsonl" | "metadata.parquet") || extension(name) == "cls"
}

/// Labels of a folder's pictures, and of those in its folders, by path below it.
pub(super) struct Labels {
    said_by: String,
    by_path: BTreeMap<String, Label>,
    unread: Vec<String>,
}

impl Labels {
    /// Returns the labels that the files beside a folder's pictures say; none where there are no such files.
    ///
    /// # Errors
    /// If such a file cannot be read.
    pub fn of(path: &Path, node: &Node) -> Result<Option<Self>, DatasetError> {
        match of_pictures(path, node)? {
            Some(labels) => Ok(Some(labels)),
            None => of_table(path, node),
        }
    }

    /// Puts them on the pictures of the folder.
    ///
    /// # Errors
    /// If a picture has no label, or a label no picture.
    pub fn put_on(mut self, path: &Path, images: Vec<(String, Stored)>) -> Result<Labelled, DatasetError> {
        let wrong = |said_by: &str, reason: String| DatasetError::Layout {
            path: path.to_owned(),
            reason: format!("{said_by} beside its pictures: {reason}"),
        };
        let mut all = Vec::with_capacity(images.len());
        for (name, stored) in images {
            let Some(label) = self.by_path.remove(&name) else {
                return Err(wrong(
                    &self.said_by,
                    format!("the picture {name} has no label there"),
                ));
            };
            all.push((name, stored, label));
        }
        match self.by_path.into_keys().next() {
            Some(name) => Err(wrong(&self.said_by, format!("there is no picture {name}"))),
            None => Ok(Labelled {
                pictures: all,
                unread: self.unread,
            }),
        }
    }
}

/// The labels in files that are called as the pictures are, in whatever folder they lie beside each other.
/// Folders of splits say labels each for themselves.
fn of_pictures(path: &Path, node: &Node) -> Result<Option<Labels>, DatasetError> {
    let mut full = node.folders.iter().filter(|folder| folder.count > 0);
    if node.images.is_empty() && full.all(|folder| is_split(&folder.name)) {
        return Ok(None);
    }
    let mut beside = Beside::default();
    beside.gather(node, "");
    if beside.numbers.is_empty() {
        return Ok(None);
    }
    let mut labels = BTreeMap::new();
    for name in beside.pictures {
        let Some((file, stored)) = beside.numbers.remove(key(&name)) else {
            continue;
        };
        let text = stored.file_bytes()?;
        let text = String::from_utf8_lossy(&text);
        let label = number(text.trim()).ok_or_else(|| DatasetError::Layout {
            path: path.to_owned(),
            reason: format!(
                "{file} beside the picture {name} is no class number: {}",
                text.trim()
            ),
        })?;
        labels.insert(name, label);
    }
    Ok(Some(Labels {
        said_by: ".cls files".to_owned(),
        by_path: labels,
        unread: Vec::new(),
    }))
}

/// Pictures and the files of numbers beside them, by path.
#[derive(Default)]
struct Beside<'n> {
    pictures: Vec<String>,
    /// By what they belong to.
    numbers: BTreeMap<String, (String, &'n Stored)>,
}

impl<'n> Beside<'n> {
    /// Adds those of a folder at a path that ends with `/`, and of its folders.
    fn gather(&mut self, node: &'n Node, above: &str) {
        self.pictures
            .extend(node.images.iter().map(|(name, _)| format!("{above}{name}")));
        // Without pictures beside them they are of something else.
        let beside = node.tables.iter().filter(|_| !node.images.is_empty());
        for (name, stored) in beside.filter(|(name, _)| extension(name) == "cls") {
            let path = format!("{above}{name}");
            self.numbers.insert(key(&path).to_owned(), (path, stored));
        }
        for folder in &node.folders {
            self.gather(folder, &format!("{above}{}/", folder.name));
        }
    }
}

/// What a file of a shard belongs to: its path as far as the first dot of its name.
fn key(path: &str) -> &str {
    let name = path.rfind('/').map_or(0, |slash| slash + 1);
    path[name..].find('.').map_or(path, |dot| &path[..name + dot])
}

/// The label that a number means, also one as programs write it that keep it as a fraction (`3.0`); a
/// negative one, none.
fn number(text: &str) -> Option<Label> {
    match whole_number(text)? {
        ..0 => Some(Label::None),
        number => u32::try_from(number).ok().map(Label::Number),
    }
}

/// The labels in a table, if the folder has one with a column of labels.
fn of_table(path: &Path, node: &Node) -> Result<Option<Labels>, DatasetError> {
    let mut tables = node
        .tables
        .iter()
        .filter(|(name, _)| name.starts_with("metadata."));
    let Some((name, stored)) = tables.next() else {
        return Ok(None);
    };
    if let Some((other, _)) = tables.next() {
        return Err(DatasetError::Layout {
            path: path.to_owned(),
            reason: format!(
                "{name} and {other} lie beside each other, and both may say labels: leave one there"
            ),
        });
    }
    let wrong = |reason: String| DatasetError::Layout {
        path: path.to_owned(),
        reason: format!("{name} beside its pictures: {reason}"),
    };
    let table = match extension(name).as_str() {
        "csv" => of_csv(&stored.file_bytes()?),
        "jsonl" => of_lines(&stored.file_bytes()?),
        _ => Err("it is not read; write it as metadata.csv or metadata.jsonl".to_owned()),
    };
    let Table { rows, others, names } = table.map_err(wrong)?;
    if rows.is_empty() {
        return Ok(None);
    }
    // Numbers, or else names of classes.
    let numbers = rows
        .iter()
        .all(|row| row.label.is_empty() || number(&row.label).is_some());
    // As exports of pictures have it. Where a name is missing, they are numbers.
    let named = numbers && rows.iter().all(|row| row.label.is_empty() || row.name.is_some());
    let mut labels = BTreeMap::new();
    for Row { file, label, name } in rows {
        let label = match (label.is_empty(), numbers) {
            (true, _) => Label::None,
            (false, true) => match (number(&label), name.filter(|_| named)) {
                (Some(Label::Number(number)), Some(name)) => Label::Class {
                    name,
                    number: Some(number),
                },
                (label, _) => label.unwrap_or(Label::None), // every one is a number
            },
            (false, false) => Label::Class {
                name: label,
                number: None,
            },
        };
        let file = file.trim_start_matches("./").replace('\\', "/");
        if labels.insert(file.clone(), label).is_some() {
            return Err(wrong(format!("{file} stands in two lines")));
        }
    }
    let folders = contradicted(&labels).map(|folder| {
        format!("the names of folders, which are no classes by {name}: `{folder}` has pictures of several")
    });
    let unread = others
        .iter()
        .filter(|column| !(named && names.contains(*column)))
        .map(|column| match column.is_empty() {
            true => format!("a column without a name in {name}"),
            false => format!("the column {column} in {name}"),
        });
    Ok(Some(Labels {
        said_by: name.clone(),
        by_path: labels,
        unread: unread.chain(folders).collect(),
    }))
}

/// Returns the first of several folders that has pictures of more than one class.
fn contradicted(labels: &BTreeMap<String, Label>) -> Option<&str> {
    let mut of_folders: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (file, label) in labels {
        let (folder, _) = file.rsplit_once('/')?;
        of_folders.entry(folder).or_default().insert(format!("{label:?}"));
    }
    let several = of_folders.len() > 1;
    let mut mixed = of_folders
        .into_iter()
        .filter(|(_, labels)| several && labels.len() > 1);
    mixed.next().map(|(folder, _)| folder)
}

/// What a table says of a picture.
struct Row {
    file: String,
    label: String,
    /// The class's name, where the label may be its number.
    name: Option<String>,
}

/// The rows of a table; none where it has no such columns.
#[derive(Default)]
struct Table {
    rows: Vec<Row>,
    /// The columns beside those of files and labels.
    others: BTreeSet<String>,
    /// Those of them that say the class's name.
    names: BTreeSet<String>,
}

fn of_csv(bytes: &[u8]) -> Result<Table, String> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut reader = csv::Reader::from_reader(bytes);
    let head = reader.headers().map_err(|e| e.to_string())?.clone();
    let at = |wanted: &str| {
        head.iter()
            .position(|name| name.trim().eq_ignore_ascii_case(wanted))
    };
    let mut labels = LABEL_COLUMNS.into_iter().chain(OTHER_LABELS);
    let (Some(file), Some(label)) = (FILE_COLUMNS.into_iter().find_map(at), labels.find_map(at)) else {
        return Ok(Table::default());
    };
    let name = NAME_COLUMNS.into_iter().find_map(at);
    let beside = (0..head.len()).filter(|at| ![file, label].contains(at));
    let column = |at: usize| head.get(at).unwrap_or_default().trim().to_owned();
    let others = beside.map(column).collect();
    let names = name.map(column).into_iter().collect();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| e.to_string())?;
        let cell = |at: usize| record.get(at).unwrap_or_default().trim().to_owned();
        rows.push(Row {
            file: cell(file),
            label: cell(label),
            name: name.map(cell).filter(|name| !name.is_empty()),
        });
    }
    Ok(Table { rows, others, names })
}

fn of_lines(bytes: &[u8]) -> Result<Table, String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let (mut table, mut without) = (Table::default(), BTreeSet::new());
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let object: Value = serde_json::from_str(line).map_err(|e| format!("line {}: {e}", number + 1))?;
        let first = |names: &[&'static str]| names.iter().copied().find(|name| object.get(*name).is_some());
        let file_column = first(&FILE_COLUMNS);
        let Some(file) = file_column.and_then(|name| object.get(name)?.as_str()) else {
            return Ok(Table::default());
        };
        let label_column = first(&LABEL_COLUMNS).or_else(|| first(&OTHER_LABELS));
        let label = match label_column.and_then(|name| object.get(name)) {
            None => {
                without.insert(number + 1);
                String::new()
            }
            Some(Value::Null) => String::new(),
            Some(Value::String(name)) => name.clone(),
            Some(Value::Number(class)) => class.to_string(),
            Some(other) => return Err(format!("line {}: {other} is no label", number + 1)),
        };
        let name_column = NAME_COLUMNS.into_iter().find(|name| object[*name].is_string());
        table.rows.push(Row {
            file: file.to_owned(),
            label,
            name: name_column.and_then(|name| object[name].as_str().map(str::to_owned)),
        });
        table.names.extend(name_column.map(str::to_owned));
        let read = [file_column, label_column];
        let columns = object.as_object().into_iter().flat_map(|object| object.keys());
        let others = columns.filter(|column| !read.contains(&Some(column.as_str())));
        table.others.extend(others.cloned());
    }
    match without.first() {
        // Captions, boxes: nothing that is a label.
        _ if without.len() == table.rows.len() => Ok(Table::default()),
        Some(line) => Err(format!("line {line} has no label, and others have")),
        None => Ok(table),
    }
}
