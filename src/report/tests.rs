use super::*;
#[test]
fn placeholder_builds() { render(&Report::default()).unwrap(); }
