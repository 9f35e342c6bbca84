//! What a hart implements, by the names that device trees use. Advertised to guests as it is:
//! nothing may stand here that does not work.

/// The base instruction set.
pub const BASE: &str = "rv64i";

/// The extensions, in the canonical order of an ISA string.
///
/// Svadu stands alone, without Svade: the hart sets A and D bits from reset on. With both named,
/// a kernel would first have to ask for that.
pub const EXTENSIONS: &[&str] = &[
    "i",
    "m",
    "a",
    "f",
    "d",
    "c",
    "zicbom",
    "zicbop",
    "zicboz",
    "zicntr",
    "zicond",
    "zicsr",
    "zifencei",
    "zihintntl",
    "zihintpause",
    "zihpm",
    "zimop",
    "zabha",
    "zawrs",
    "zfa",
    "zfh",
    "zfhmin",
    "zca",
    "zcb",
    "zcd",
    "zcmop",
    "zba",
    "zbb",
    "zbc",
    "zbkb",
    "zbkc",
    "zbkx",
    "zbs",
    "sstc",
    "svadu",
    "svinval",
    "svnapot",
    "svpbmt",
    "svvptc",
];

/// The deprecated one-string form: single letters joined, the rest behind underscores.
pub fn isa_string() -> alloc::string::String {
    let mut string = alloc::string::String::from("rv64");
    for extension in EXTENSIONS {
        if extension.len() > 1 {
            string.push('_');
        }
        string.push_str(extension);
    }
    string
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_string_form_is_canonical() {
        let string = super::isa_string();
        assert!(string.starts_with("rv64imafdc_zicbom_"), "{string}");
        assert!(string.ends_with("_svvptc"), "{string}");
    }
}
