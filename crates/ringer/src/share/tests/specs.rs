//! Shares as they are described on the command line and in files, and taken on by a resumed machine.

use std::path::Path;

use crate::args::RunOptions;
use crate::share::{ShareSpec, adopt, describe};

#[test]
fn folder_tag_and_ro() {
    let spec = ShareSpec::parse("./a:b,c/d:work-1,ro").unwrap();
    assert_eq!(spec.path, Path::new("./a:b,c/d"));
    assert_eq!((spec.tag.as_str(), spec.read_only), ("work-1", true));
    assert!(!ShareSpec::parse(".:x").unwrap().read_only);
    for bad in [
        "", "folder", ":tag", "folder:", "a:b,rw", "a:b c", "a:b/c", "a:\u{fc}",
    ] {
        let failure = ShareSpec::parse(bad).unwrap_err();
        assert_eq!(failure.status(), 2, "{bad}");
        assert!(!failure.to_string().contains('\n'));
    }
    let long = format!("a:{}", "x".repeat(256));
    assert!(ShareSpec::parse(&long).is_err());
    assert!(ShareSpec::parse_all(&["a:x".into(), "b:x".into()]).is_err());
    let file = RunOptions {
        share: vec!["src:work,ro".into()],
        ..RunOptions::default()
    };
    assert_eq!(
        file.relative_to(Path::new("/vm")).share,
        ["/vm/src:work,ro"]
    );
}

#[test]
fn a_resumed_machine_has_the_shares_it_had() {
    let spec = |text| ShareSpec::parse(text).unwrap();
    let saved = [describe(&spec("/a:one")), describe(&spec("/b:two,ro"))];
    assert_eq!(
        adopt(&[], &saved).unwrap(),
        [spec("/a:one"), spec("/b:two,ro")]
    );
    let given = [spec("/c:two")];
    assert_eq!(
        adopt(&given, &saved).unwrap(),
        [spec("/a:one"), spec("/c:two")]
    );
    assert!(adopt(&[spec("/c:three")], &saved).is_err());
    assert!(adopt(&[spec("/c:one")], &[]).is_err());
}
