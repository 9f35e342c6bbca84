//! Replays the kept corpora.

use std::fs;
use std::path::Path;

#[test]
fn kept_inputs_do_no_harm() {
    for (name, target) in ringer_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|_| panic!("no corpus for {name}"));
        let mut inputs: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "no inputs for {name}");
        for input in inputs {
            target(&fs::read(input).expect("a kept input"));
        }
    }
}
