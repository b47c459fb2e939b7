//! Class words of several tokens, against transformers' text encoder with patched embeddings; and the
//! tokenizer on hard texts. Fixtures by `tests/fixtures/diffusion/forms.py`.

use super::forms::{expected, facts};
use super::*;
use crate::diffusion::folder::Folder;
use crate::diffusion::{DiffusionError, TokenRule, Tokenizer};

#[test]
fn words_of_several_tokens_give_way_as_in_transformers() {
    let (expected, facts) = (expected(), facts());
    let vectors: Vec<Vec<f32>> = expected["several_vectors"].to_vec2().unwrap();
    let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
    for pipeline in [tiny(), tiny_plain()] {
        for row in facts["several"].as_array().unwrap() {
            let [name, prompt, word] = ["name", "prompt", "word"].map(|key| row[key].as_str().unwrap());
            let plain = pipeline.encode(prompt, None).unwrap();
            let mut found = Vec::new();
            for (rule, suffix) in [(TokenRule::First, "first"), (TokenRule::All, "all")] {
                let span = pipeline.outline().tokenizer().span(word, rule).unwrap();
                assert_eq!(serde_json::json!(span.tokens()), row["tokens"]);
                let wanted = if name == "twice" { 2 } else { 1 };
                assert_eq!(
                    pipeline.outline().placing(prompt, &span).unwrap().occurrences,
                    wanted
                );
                let states = pipeline.encode_batch(prompt, &span, &vectors).unwrap();
                let theirs = &expected[&format!("several_{name}_{suffix}")];
                let off = difference(&states, theirs);
                assert!(off < 1e-5, "{name} {suffix}: {off}");
                assert!(difference(&states.narrow(0, 0, 1).unwrap(), &plain) > 0.1);
                found.push(states);
            }
            assert!(difference(&found[0], &found[1]) > 0.1, "the rules differ");
        }
    }
}

#[test]
fn the_rules_agree_on_a_word_of_one_token() {
    let pipeline = tiny();
    let token = pipeline.outline().tokenizer().single_token("shoe").unwrap();
    let vector = vec![0.1; pipeline.embedding_dim()];
    let run = |span| {
        bits(
            &pipeline
                .encode_batch("a shoe, the shoe", span, &[&vector])
                .unwrap(),
        )
    };
    let known = run(token.into());
    for rule in [TokenRule::One, TokenRule::First, TokenRule::All] {
        let span = pipeline.outline().tokenizer().span("shoe", rule).unwrap();
        assert_eq!(run(span), known, "{rule:?}");
    }
}

#[test]
fn every_occurrence_gives_way_but_not_one_that_is_cut_off() {
    let pipeline = tiny();
    let room = pipeline.outline().tokenizer().length() - 2;
    let place = |prompt: &str, rule| {
        let span = pipeline.outline().tokenizer().span("red bus", rule).unwrap();
        let placed = span.place(pipeline.outline().tokenizer(), prompt);
        placed.map(|p| (p.places, p.placing.occurrences, p.ids))
    };
    let length = pipeline.outline().tokenizer().bare_ids("red bus").unwrap().len();
    assert!(length > 2);
    let (places, occurrences, ids) = place("red bus red bus", TokenRule::All).unwrap();
    assert_eq!((places, occurrences), ((1..=2 * length).collect(), 2));
    assert_eq!(
        ids,
        pipeline.outline().tokenizer().ids("red bus red bus").unwrap(),
        "nothing moves"
    );
    let (places, occurrences, ids) = place("red bus red bus", TokenRule::First).unwrap();
    assert_eq!((places, occurrences), (vec![1, 2], 2));
    let end = *pipeline.outline().tokenizer().ids("").unwrap().last().unwrap();
    assert_eq!(
        ids.iter().position(|id| *id == end),
        Some(3),
        "what follows moves up"
    );
    assert_eq!(ids.len(), pipeline.outline().tokenizer().length());
    // Room for all but the last token: `All` needs all of them, `First` only one.
    let long = format!("{}red bus", "the ".repeat(room + 1 - length));
    assert!(matches!(
        place(&long, TokenRule::All),
        Err(DiffusionError::TokenNotInPrompt { .. })
    ));
    let (places, ..) = place(&long, TokenRule::First).unwrap();
    assert_eq!(places, [room + 2 - length]);
    // Dropping the tokens of the first makes room for the second.
    let twice = format!("red bus {}red bus", "the ".repeat(room - length));
    assert_eq!(place(&twice, TokenRule::All).unwrap().1, 1);
    assert_eq!(place(&twice, TokenRule::First).unwrap().1, 2);
}

#[test]
fn words_without_a_token_are_refused_and_those_of_several_named() {
    let tokenizer = tiny();
    let tokenizer = tokenizer.outline().tokenizer();
    for rule in [TokenRule::One, TokenRule::First, TokenRule::All] {
        for word in ["", " ", "<|endoftext|>"] {
            let error = tokenizer.span(word, rule).unwrap_err();
            assert!(
                matches!(error, DiffusionError::NoToken { .. }),
                "{word:?}: {error}"
            );
        }
    }
    let error = tokenizer.span("sandal", TokenRule::One).unwrap_err();
    let DiffusionError::NotOneToken { word, tokens } = &error else {
        panic!("{error}");
    };
    assert_eq!((word.as_str(), tokens.len()), ("sandal", 6));
    assert!(error.to_string().contains("(s a n d a l</w>)"), "{error}");
}

/// The tokenizer in `path`, read as a model's, with prompts of up to `longest` tokens.
fn read(path: &Path, longest: usize) -> Tokenizer {
    let mut folder = Folder::new(Path::new("nowhere"), Some(path.to_path_buf()));
    Tokenizer::load(&mut folder, longest).unwrap()
}

#[test]
fn hard_texts_have_the_token_ids_of_transformers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let facts = &facts()["tokenizers"];
    let texts = facts["texts"].as_array().unwrap();
    for (name, path) in [
        ("tiny", fixtures().join("tiny/tokenizer")),
        ("bundled", root.join("data/tiny-sd/tokenizer")),
        ("trained", fixtures().join("trained")),
    ] {
        let row = &facts["ids"][name];
        let longest = row["longest"].as_u64().unwrap() as usize;
        let tokenizer = read(&path, longest);
        assert_eq!(tokenizer.length(), longest);
        for (text, ids) in texts.iter().zip(row["ids"].as_array().unwrap()) {
            let text = text.as_str().unwrap();
            let found = tokenizer.ids(text).unwrap();
            assert_eq!(&serde_json::json!(found), ids, "{name}: {text:?}");
        }
    }
}

#[test]
fn both_layouts_of_a_tokenizer_are_one() {
    let bytes = std::fs::read(fixtures().join("trained/tokenizer.json")).unwrap();
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut vocab = document["model"]["vocab"].clone();
    for token in document["added_tokens"].as_array().unwrap() {
        vocab[token["content"].as_str().unwrap()] = token["id"].clone();
    }
    std::fs::write(dir.path().join("vocab.json"), vocab.to_string()).unwrap();
    let mut merges = "#version: 0.2\n".to_owned();
    for merge in document["model"]["merges"].as_array().unwrap() {
        let [a, b] = [0, 1].map(|i| merge[i].as_str().unwrap());
        merges += &format!("{a} {b}\n");
    }
    std::fs::write(dir.path().join("merges.txt"), &merges).unwrap();
    // Alone, without settings: those of CLIP.
    let [one, two] = [read(&fixtures().join("trained"), 77), read(dir.path(), 77)];
    // The merges as lines, as tokenizers wrote them before 0.20.
    let mut lines = document.clone();
    lines["model"]["merges"] = merges.lines().skip(1).collect();
    let old = tempfile::tempdir().unwrap();
    std::fs::write(old.path().join("tokenizer.json"), lines.to_string()).unwrap();
    let three = read(old.path(), 77);
    for text in facts()["tokenizers"]["texts"].as_array().unwrap() {
        let text = text.as_str().unwrap();
        let ids = one.ids(text).unwrap();
        assert_eq!(ids, two.ids(text).unwrap(), "{text:?}");
        assert_eq!(ids, three.ids(text).unwrap(), "{text:?}");
    }
}

#[test]
fn a_tokenizer_of_another_make_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refuse = |document: Value| {
        std::fs::write(dir.path().join("tokenizer.json"), document.to_string()).unwrap();
        let mut folder = Folder::new(Path::new("nowhere"), Some(dir.path().to_path_buf()));
        Tokenizer::load(&mut folder, 77).unwrap_err()
    };
    let model = serde_json::json!({"type": "WordPiece", "vocab": {"a": 0}, "merges": []});
    assert!(matches!(
        refuse(serde_json::json!({ "model": model })),
        DiffusionError::Unsupported { .. }
    ));
    let model = serde_json::json!({"type": "BPE", "vocab": {"a": 0}, "merges": [], "end_of_word_suffix": ""});
    assert!(matches!(
        refuse(serde_json::json!({ "model": model })),
        DiffusionError::Unsupported { .. }
    ));
    let model =
        serde_json::json!({"type": "BPE", "vocab": {"a": 0}, "merges": ["ab"], "end_of_word_suffix": "</w>"});
    let error = refuse(serde_json::json!({ "model": model })).to_string();
    assert!(error.contains("merge 1 is not a pair"), "{error}");
}
