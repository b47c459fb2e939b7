use proptest::prelude::*;

use super::*;

fn error(bytes: &[u8]) -> String {
    Pickle::parse(bytes).unwrap_err().to_string()
}

#[test]
fn values_of_every_opcode() {
    // {'a': [1, 256, -2, 70000, 5L], b'b': ['x', u'\u00e9']}, by protocols 0, 1 and 2 in one program.
    let program = b"\x80\x02(dp0\nS'a'\n(lp1\nI1\naM\x00\x01aJ\xfe\xff\xff\xffaL70000L\na\x8a\x01\x05asU\x01b]q\x02(S'\\x78'\nV\\u00e9\nes.";
    let pickle = Pickle::parse(program).unwrap();
    assert_eq!(pickle.integers("a").unwrap(), [1, 256, -2, 70000, 5]);
    assert_eq!(pickle.texts("b").unwrap(), ["x", "é"]);
    assert!(pickle.integers("b").is_none() && pickle.array("a").is_none() && pickle.texts("c").is_none());
}

#[test]
fn an_array_in_either_order() {
    let program = |fortran: u8| {
        let head = b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\nI3\ntcnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb";
        [head.as_slice(), &[fortran], b"U\x06abcdeftbs."].concat()
    };
    let (rows, columns) = (program(0x89), program(0x88));
    let array = |bytes| {
        Pickle::parse(bytes)
            .unwrap()
            .array("a")
            .unwrap()
            .bytes
            .into_owned()
    };
    assert_eq!(Pickle::parse(&rows).unwrap().array("a").unwrap().shape, [2, 3]);
    assert_eq!(array(&rows), b"abcdef");
    assert_eq!(array(&columns), b"acebdf");
    let mut short = rows.clone();
    let at = short.windows(2).position(|w| w == b"U\x06").unwrap();
    short[at + 1] = 5;
    short.remove(at + 2);
    assert!(Pickle::parse(&short).unwrap().array("a").is_none());
    let mut floats = rows.clone();
    let at = floats.windows(2).position(|w| w == b"u1").unwrap();
    floats[at] = b'f';
    assert!(error(&floats).contains("f1"), "{}", error(&floats));
}

/// Each way a pickle can ask for something to be done, or lie about its length.
#[test]
fn attacks_are_refused_by_name() {
    assert!(error(b"cos\nsystem\n(S'echo'\ntR.").contains("os.system"));
    assert!(error(b"(S'echo'\nios\nsystem\n.").contains("opcode 0x69"));
    assert!(error(b"\x80\x04\x95").contains("protocol 4"));
    assert!(error(b"}").contains("ends"));
    assert!(error(b"T\xff\xff\xff\xff").contains("4294967295"));
    assert!(error(b".").contains("not there"));
    assert!(error(b"(0.").contains("not there"));
    assert!(error(b"h\x07.").contains("memo 7"));
    assert!(error(b"}K\x01u.").contains("never begun"));
    assert!(error(b"]K\x01K\x02s.").contains("no dictionary"));
    assert!(error(b"]q\x00h\x00a.").contains("no dictionary"));
    assert!(error(b"S'a\n.").contains("quote"));
    assert!(error(b"I12x\n.").contains("number"));
    assert!(error(b"\x86.").contains("tuple"));
}

proptest! {
    /// Any bytes are read or refused, and never a panic.
    #[test]
    fn no_bytes_panic(ops in prop::collection::vec(prop::sample::select(&b"\x80\x02(.0NIJKMLSVUTXBCpqrghj]})lt\x85\x86\x87daesucRb\n1'\x00\x01"[..]), 0..60)) {
        let _ = Pickle::parse(&ops);
        let program = [&b"}q\x00]q\x01(K\x01cnumpy\ndtype\n"[..], &ops].concat();
        let _ = Pickle::parse(&program);
    }
}
