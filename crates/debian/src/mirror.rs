//! The Debian mirror that this machine uses, from apt's own configuration.

use std::fs;
use std::path::PathBuf;

/// Where packages come from.
pub fn archive() -> Option<String> {
    ending("/debian")
}

/// Where packages with repaired security faults come from.
pub fn security() -> Option<String> {
    ending("/debian-security")
}

/// Debian's mirrors all serve the archive in a folder of the same name.
fn ending(name: &str) -> Option<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let further = fs::read_dir("/etc/apt/sources.list.d").into_iter();
    files.extend(further.flatten().flatten().map(|entry| entry.path()));
    files.sort();
    files
        .iter()
        .filter(|file| {
            file.extension()
                .is_some_and(|e| e == "list" || e == "sources")
        })
        .filter_map(|file| fs::read_to_string(file).ok())
        .find_map(|text| find(&text, name))
}

fn find(text: &str, name: &str) -> Option<String> {
    text.lines()
        .map(str::trim)
        .filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"))
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_end_matches('/'))
        .find(|word| word.contains("://") && word.ends_with(name))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_sources_are_read() {
        let one_line =
            "# deb http://no/debian x\ndeb [arch=a] http://a.example/debian/ trixie main\n";
        assert_eq!(
            find(one_line, "/debian").as_deref(),
            Some("http://a.example/debian")
        );
        let fields = "Types: deb\nURIs: http://b.example/debian-security\nSuites: x\n";
        assert_eq!(find(fields, "/debian"), None);
        let security = find(fields, "/debian-security");
        assert_eq!(
            security.as_deref(),
            Some("http://b.example/debian-security")
        );
    }
}
