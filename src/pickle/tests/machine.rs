use proptest::prelude::*;

use super::super::numpy::Array;
use super::super::{Node, Pickle, PickleError};
use super::fixture;

fn error(bytes: &[u8]) -> String {
    Pickle::parse(bytes).unwrap_err().to_string()
}

fn integers(node: Node<'_>) -> Option<Vec<i64>> {
    node.items()?.map(Node::integer).collect()
}

fn texts(node: Node<'_>) -> Option<Vec<String>> {
    node.items()?
        .map(|item| Some(item.text()?.into_owned()))
        .collect()
}

#[test]
fn values_of_every_opcode() {
    // {'a': [1, 256, -2, 70000, 5L], b'b': ['x', u'\u00e9']}, by protocols 0, 1 and 2 in one program.
    let program =
        b"\x80\x02(dp0\nS'a'\n(lp1\nI1\naM\x00\x01aJ\xfe\xff\xff\xffaL70000L\na\x8a\x01\x05asU\x01b]q\x02\
        (S'\\x78'\nV\\u00e9\nes.";
    let pickle = Pickle::parse(program).unwrap();
    let root = pickle.root();
    assert_eq!(integers(root.get("a").unwrap()).unwrap(), [1, 256, -2, 70000, 5]);
    assert_eq!(texts(root.get("b").unwrap()).unwrap(), ["x", "é"]);
    assert!(integers(root.get("b").unwrap()).is_none() && root.get("c").is_none());
    assert_eq!(
        Array::read(root.get("a").unwrap()).unwrap_err(),
        "a value that is no array"
    );
    assert_eq!(pickle.length(), program.len());
}

/// `tests/fixtures/pickle/make.py`: classes that nobody knows, containers made by calls, a list and a class
/// in themselves.
#[test]
fn what_python_writes_is_read_as_data() {
    for protocol in 0..6 {
        let bytes = std::fs::read(fixture(&format!("pickle/protocol{protocol}.pickle"))).unwrap();
        let pickle = Pickle::parse(&bytes).unwrap();
        let root = pickle.root();
        let get = |key: &str| root.get(key).unwrap_or_else(|| panic!("{protocol}: {key}"));
        let inner = get("nested").get("outer").unwrap().get("inner").unwrap();
        assert_eq!(
            integers(inner).unwrap(),
            [1, -2, 70000, 1 << 40, -(1 << 40)],
            "{protocol}"
        );
        assert_eq!(
            integers(get("easy").get("steps").unwrap()).unwrap(),
            [3, 4],
            "{protocol}"
        );
        assert_eq!(integers(get("deque")).unwrap(), [5, 6], "{protocol}");
        assert_eq!(
            get("namespace").state().unwrap().get("epochs").unwrap().integer(),
            Some(3)
        );
        assert_eq!(
            integers(get("counts").get("a").unwrap()).unwrap(),
            [1],
            "{protocol}"
        );
        let again = get("again").items().unwrap().nth(1).unwrap();
        assert_eq!(
            again.items().unwrap().next().unwrap().integer(),
            Some(7),
            "{protocol}"
        );
        for key in ["big", "negative"] {
            assert!(
                get(key).integer().is_none() && get(key).long().is_some(),
                "{protocol}: {key}"
            );
        }
        let truth: Vec<_> = get("truth").tuple().unwrap().map(Node::truth).collect();
        assert_eq!(truth, [Some(true), Some(false)], "{protocol}");
        assert_eq!(get("text").text().unwrap(), "é水", "{protocol}");
        assert_eq!(&*get("bytes").bytes().unwrap(), b"\x00\xff", "{protocol}");
        assert_eq!(get("long").text().unwrap().len(), 300, "{protocol}");
        let sets: Vec<_> = get("sets").items().unwrap().map(integers).collect();
        assert_eq!(sets, [Some(vec![8]), Some(vec![9])], "{protocol}");
    }
}

/// What Python 2 makes of an ordered dictionary: a call with a list of pairs.
#[test]
fn an_ordered_dictionary_of_pairs() {
    let program = b"ccollections\nOrderedDict\n(](](U\x01aK\x07e](U\x01bK\x08eetR.";
    let pickle = Pickle::parse(program).unwrap();
    assert_eq!(pickle.root().get("b").unwrap().integer(), Some(8));
    assert_eq!(pickle.root().entries().unwrap().len(), 2);
}

#[test]
fn an_array_in_either_order() {
    let program = |fortran: u8| {
        let head =
            b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n\
            (I2\nI3\ntcnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb";
        [head.as_slice(), &[fortran], b"U\x06abcdeftbs."].concat()
    };
    let read = |program: &[u8]| {
        let pickle = Pickle::parse(program).unwrap();
        let array = Array::read(pickle.root().get("a").unwrap())?;
        Ok::<_, String>((array.shape, array.bytes.into_owned()))
    };
    let (rows, columns) = (program(0x89), program(0x88));
    assert_eq!(read(&rows).unwrap(), (vec![2, 3], b"abcdef".to_vec()));
    assert_eq!(read(&columns).unwrap(), (vec![2, 3], b"acebdf".to_vec()));
    let mut short = rows.clone();
    let at = short.windows(2).position(|w| w == b"U\x06").unwrap();
    short[at + 1] = 5;
    short.remove(at + 2);
    assert_eq!(read(&short).unwrap_err(), "an array of shape [2, 3] in 5 bytes");
    let mut floats = rows.clone();
    let at = floats.windows(2).position(|w| w == b"u1").unwrap();
    floats[at] = b'f';
    assert!(read(&floats).unwrap_err().contains("f1"));
    let mut huge = rows;
    let at = huge.windows(3).position(|w| w == b"I2\n").unwrap();
    huge.splice(at..at + 3, *b"I4611686018427387904\n");
    assert!(read(&huge).unwrap_err().contains("4611686018427387904"));
}

/// Each way a pickle can ask for something to be done, or lie about its length.
#[test]
fn attacks_do_nothing_or_are_refused() {
    // A call is a name and arguments, whatever the name.
    for program in [
        &b"cos\nsystem\n(S'echo'\ntR."[..],
        b"(S'echo'\nios\nsystem\n.",
        b"(cos\nsystem\nS'echo'\no.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93(S'echo'\nt\x81.",
    ] {
        let pickle = Pickle::parse(program).unwrap();
        let call = pickle.root();
        assert_eq!(call.function().unwrap().name(), Some(("os", "system")));
        assert_eq!(call.arguments().unwrap().next().unwrap().text().unwrap(), "echo");
        assert!(call.text().is_none() && call.bytes().is_none() && call.entries().unwrap().is_empty());
    }
    assert!(error(b"\x80\x06").contains("protocol 6"));
    assert!(error(b"\x82\x01.").contains("opcode 0x82"));
    assert!(error(b"}").contains("ends"));
    assert!(error(b"T\xff\xff\xff\xff").contains("4294967295"));
    assert!(error(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff").contains("18446744073709551615"));
    assert!(error(b".").contains("not there"));
    assert!(error(b"(0.").contains("not there"));
    assert!(error(b"h\x07.").contains("memo 7"));
    assert!(error(b"}K\x01u.").contains("never begun"));
    assert!(error(b"]K\x01K\x02s.").contains("no dictionary"));
    assert!(error(b"K\x01K\x02a.").contains("no list"));
    assert!(error(b"S'a\n.").contains("quote"));
    assert!(error(b"I12x\n.").contains("number"));
    assert!(error(b"\x86.").contains("tuple"));
    assert!(error(b"K\x01(\x85.").contains("tuple"));
    // A list in itself.
    assert!(
        Pickle::parse(b"]q\x00h\x00a.")
            .unwrap()
            .root()
            .items()
            .unwrap()
            .len()
            == 1
    );
}

#[test]
fn every_cut_of_a_pickle_is_refused() {
    for protocol in 0..6 {
        let bytes = std::fs::read(fixture(&format!("pickle/protocol{protocol}.pickle"))).unwrap();
        for length in 0..bytes.len() {
            let PickleError { cut, at, .. } = Pickle::parse(&bytes[..length]).unwrap_err();
            assert!(cut && at <= length, "protocol {protocol}, {length} bytes");
        }
    }
}

proptest! {
    /// Any bytes are read or refused, and never a panic.
    #[test]
    fn no_bytes_panic(ops in prop::collection::vec(prop::sample::select(
        &b"\x80\x02(.0NIJKMLSVUTXBCpqrghjPQGF]})lt\x85\x86\x87daesucRbio12\n'\x00\x01\
            \x81\x88\x8a\x8b\x8c\x8f\x90\x91\x92\x93\x94\x95\x96"[..],
    ), 0..60)) {
        let _ = Pickle::parse(&ops);
        let program = [&b"}q\x00]q\x01(K\x01cnumpy\ndtype\n"[..], &ops].concat();
        if let Ok(pickle) = Pickle::parse(&program) {
            let root = pickle.root();
            let _ = (root.text(), root.bytes(), root.entries(), root.get("a").is_some(), Array::read(root));
        }
    }
}
