//! Names of runs: ids, their prefixes, aliases.

use super::face::Viewed;
use super::view::View;
use super::{Result, Store, StoreError, layout, runs};
use crate::words::near_names;
use dream_schema::RunId;

/// The shortest prefix of an id that names a run.
pub(super) const SHORTEST: usize = 4;
/// How many ids or names an error lists.
const LISTED: usize = 8;

/// What becomes of a name that another run has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Refused,
    Moved,
}

impl Store {
    /// Gives a run a name.
    ///
    /// # Errors
    /// [`StoreError::BadAlias`], [`StoreError::UnknownRun`], [`StoreError::AliasTaken`] if another run has
    /// the name.
    pub fn set_alias(&self, name: &str, run: RunId) -> Result<()> {
        match self.give_alias(name, run, Taken::Refused)? {
            None => Ok(()),
            Some(other) => Err(StoreError::AliasTaken {
                name: name.to_owned(),
                run: other,
            }),
        }
    }

    /// Gives a run a name, also one that another run has; returns that run.
    ///
    /// # Errors
    /// [`StoreError::BadAlias`], [`StoreError::UnknownRun`].
    pub fn move_alias(&self, name: &str, run: RunId) -> Result<Option<RunId>> {
        self.give_alias(name, run, Taken::Moved)
    }

    /// Gives a run a name, if no other has it or it may be moved; returns the other run.
    fn give_alias(&self, name: &str, run: RunId, taken: Taken) -> Result<Option<RunId>> {
        if named(&self.view()?, name)? == Some(run) {
            return Ok(None);
        }
        check_alias(name)?;
        let writer = self.write()?;
        runs::require(&writer.view(), run)?;
        let named = named(&writer.view(), name)?;
        let other = named.filter(|named| *named != run);
        if other.is_some() && taken == Taken::Refused {
            return Ok(other);
        }
        writer.put(layout::ALIASES, name, &run.0)?;
        writer.commit()?;
        Ok(other)
    }

    /// Takes a name away.
    ///
    /// # Errors
    /// [`StoreError::UnknownAlias`].
    pub fn remove_alias(&self, name: &str) -> Result<()> {
        let writer = self.write()?;
        if !writer.remove(layout::ALIASES, name)? {
            return Err(StoreError::UnknownAlias {
                name: name.to_owned(),
                near: near_names(name, all(&writer.view())?.into_iter().map(|(name, _)| name)),
            });
        }
        writer.commit()
    }
}

/// Returns the run that an alias names, if there is one of that name.
pub(super) fn named(view: &View<'_>, alias: &str) -> Result<Option<RunId>> {
    let aliases = view.table(layout::ALIASES)?;
    Ok(aliases.get(alias)?.map(|run| RunId(*run.value())))
}

/// Returns the run that `name` names.
pub(super) fn resolve(view: &View<'_>, name: &str) -> Result<RunId> {
    if let Some(run) = named(view, name)? {
        return Ok(run);
    }
    let mut found = Vec::new();
    if let Some((low, high)) = prefix(name) {
        let runs = view.table(layout::RUNS)?;
        for item in runs.range::<&[u8; 16]>(&low..=&high)?.take(LISTED + 1) {
            found.push(RunId(*item?.0.value()));
        }
    }
    match found.as_slice() {
        [run] => Ok(*run),
        [] => Err(StoreError::UnknownRun {
            name: name.to_owned(),
            near: near_names(name, all(view)?.into_iter().map(|(name, _)| name)),
        }),
        several => {
            let mut candidates: Vec<_> = several.iter().take(LISTED).map(RunId::to_string).collect();
            if several.len() > LISTED {
                candidates.push("...".to_owned());
            }
            Err(StoreError::AmbiguousRun {
                name: name.to_owned(),
                candidates,
            })
        }
    }
}

/// Returns all aliases, by name.
pub(super) fn all(view: &View<'_>) -> Result<Vec<(String, RunId)>> {
    let table = view.table(layout::ALIASES)?;
    let mut aliases = Vec::new();
    for item in table.iter()? {
        let (name, run) = item?;
        aliases.push((name.value().to_owned(), RunId(*run.value())));
    }
    Ok(aliases)
}

/// Refuses an alias that could not be told from an id, or not be written in a command.
///
/// # Errors
/// [`StoreError::BadAlias`].
pub fn check_alias(name: &str) -> Result<()> {
    let is_id = name.len() >= SHORTEST && name.bytes().all(|b| b.is_ascii_hexdigit());
    let own = is_id.then_some("it looks like the id of a run");
    fault(name).or(own).map_or(Ok(()), |reason| {
        Err(StoreError::BadAlias {
            name: name.to_owned(),
            reason,
        })
    })
}

/// What a name of a data set or a model cannot be: tables of metrics have a line of that name.
pub const RESERVED: &str = "average";

/// Refuses a name of a data set or a model that could not be written in a command or as that of a file, and
/// that of another line in tables. It may look like an id (`c100`): runs are not named in its places.
///
/// # Errors
/// [`StoreError::BadName`].
pub fn check_name(name: &str) -> Result<()> {
    let own = match name {
        RESERVED => Some("tables call the mean over sets so"),
        name if !name.chars().all(is_plain) => Some("only letters, digits and -_. are allowed"),
        _ => None,
    };
    own.or_else(|| fault(name)).map_or(Ok(()), |reason| {
        Err(StoreError::BadName {
            name: name.to_owned(),
            reason,
        })
    })
}

/// What names of files are made of, whatever the system.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// Returns why something cannot be a name, if it cannot. Files may be called by it too.
fn fault(name: &str) -> Option<&'static str> {
    let allowed = |c: char| is_plain(c) || c == '/';
    let leads_away = |part: &str| part.bytes().all(|b| b == b'.');
    if name.is_empty() || name.len() > 64 {
        Some("it must have 1 to 64 characters")
    } else if !name.chars().all(allowed) {
        Some("only letters, digits and -_./ are allowed")
    } else if name.split('/').any(leads_away) {
        Some("it would look like a path to another folder")
    } else if name.starts_with('-') {
        Some("it would look like an option")
    } else {
        None
    }
}

/// Returns the first and last id that begin with the hex digits of `name`, if that is what it is.
fn prefix(name: &str) -> Option<([u8; 16], [u8; 16])> {
    if !(SHORTEST..=32).contains(&name.len()) {
        return None;
    }
    let (mut low, mut high) = ([0; 16], [0xFF; 16]);
    for (place, digit) in name.chars().enumerate() {
        let digit = digit.to_digit(16)? as u8;
        let shift = if place % 2 == 0 { 4 } else { 0 };
        let byte = place / 2;
        *low.get_mut(byte)? |= digit << shift;
        let high = high.get_mut(byte)?;
        *high = (*high & !(0xF << shift)) | (digit << shift);
    }
    Some((low, high))
}
