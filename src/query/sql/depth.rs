//! How deep the expressions of a query can be nested, from its words alone.
//!
//! Parser, planner and optimizer go down a query by recursion, so that its depth decides how much stack they
//! take. A chain of operators (`a OR b OR c`) is a tree as deep as it is long, as is a chain of joins, of
//! set operations and of named sub-queries; a list (`IN (1, 2, 3)`) is not.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// What stands between two brackets.
#[derive(Default)]
struct Level {
    /// Links of chains that go through the whole level.
    chain: usize,
    /// Operators since the last comma.
    item: usize,
    /// Whether a comma joins: between tables, and between named sub-queries.
    commas_join: bool,
}

impl Level {
    fn depth(&self) -> usize {
        1 + self.chain + self.item
    }

    fn comma(&mut self) {
        self.item = 0;
        self.chain += usize::from(self.commas_join);
    }

    fn word(&mut self, keyword: Keyword) {
        match keyword {
            Keyword::NoKeyword => {}
            Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::JOIN => {
                self.chain += 1;
                self.item = 0;
            }
            Keyword::FROM | Keyword::WITH => self.commas_join = true,
            Keyword::SELECT | Keyword::WHERE | Keyword::GROUP | Keyword::ORDER | Keyword::HAVING => {
                self.commas_join = false;
                self.item = 0;
            }
            _ => self.item += 1,
        }
    }
}

/// Returns a number of levels that the query's tree does not exceed; 0 for what is no SQL, of which the
/// parser says what is wrong.
pub(super) fn of(sql: &str) -> usize {
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize() else {
        return 0;
    };
    let mut levels = vec![Level::default()];
    // The depth of the levels around the innermost one.
    let (mut around, mut deepest) = (0, 0);
    for token in tokens {
        let level = levels.pop().unwrap_or_default();
        let level = match token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                around += level.depth();
                levels.push(level);
                Level::default()
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                let outer = levels.pop().unwrap_or_default();
                around = around.saturating_sub(outer.depth());
                outer
            }
            token => level.after(&token),
        };
        deepest = deepest.max(around + level.depth());
        levels.push(level);
    }
    deepest
}

impl Level {
    /// Returns the level after a token that opens and closes nothing.
    fn after(mut self, token: &Token) -> Self {
        match token {
            Token::Comma => self.comma(),
            Token::Word(word) => self.word(word.keyword),
            Token::Whitespace(_) | Token::Number(..) | Token::Period | Token::EOF => {}
            Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) => {}
            _ => self.item += 1,
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_and_brackets_are_deep_and_lists_are_flat() {
        let many = |piece: &str, between: &str| vec![piece; 1000].join(between);
        for deep in [
            format!("SELECT 1 WHERE {}", many("x = 1", " OR ")),
            format!("SELECT {}", many("1", " + ")),
            format!("SELECT {}1{}", "(".repeat(1000), ")".repeat(1000)),
            format!("SELECT {}1{}", "abs(".repeat(1000), ")".repeat(1000)),
            format!(
                "SELECT {} 1 {}",
                "CASE WHEN true THEN ".repeat(1000),
                "END ".repeat(1000)
            ),
            format!("SELECT {} true", "NOT ".repeat(1000)),
            many("SELECT a, b FROM t", " UNION ALL "),
            format!("SELECT 1 FROM {}", many("t", ", ")),
            format!("SELECT 1 FROM {}", many("t", " JOIN ")),
            format!("WITH {} SELECT 1", many("t AS (SELECT 1)", ", ")),
        ] {
            assert!(
                (1000..20_000).contains(&of(&deep)),
                "{}: {}",
                of(&deep),
                &deep[..40]
            );
        }
        for flat in [
            format!("SELECT 1 WHERE x IN ({})", many("1", ", ")),
            format!("SELECT {}", many("a + b", ", ")),
            format!("SELECT * FROM (VALUES {})", many("(1, 2)", ", ")),
            format!("SELECT '{}'", many("(", " OR ")),
        ] {
            assert!(of(&flat) < 20, "{}: {}", of(&flat), &flat[..20]);
        }
        assert_eq!(of("SELECT 'unclosed"), 0);
        assert!(of("))))((1") < 20);
    }
}
