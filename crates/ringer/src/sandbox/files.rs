//! Files, by Landlock: what is not named cannot be opened.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::{Needs, SandboxError};

/// The newest rules that are known here. Older kernels enforce those that they know.
const NEWEST: ABI = ABI::V6;

/// Whether the kernel restricts files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Enforced {
    /// It does.
    Yes,
    /// It cannot.
    No,
}

pub fn is_possible() -> bool {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(|rules| rules.create())
        .is_ok()
}

pub fn restrict(needs: &Needs) -> Result<Enforced, SandboxError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?;
    if !needs.network {
        rules = rules.handle_access(AccessNet::from_all(NEWEST))?;
    }
    let mut rules = rules.create()?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
    let never = AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    let change = AccessFs::from_all(NEWEST) & !never;
    rules = allow(rules, &needs.read, read)?;
    rules = allow(rules, &needs.write, write)?;
    rules = allow(rules, &needs.change, change)?;
    rules = allow(rules, &needs.remove, AccessFs::RemoveDir.into())?;
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::NotEnforced => Enforced::No,
        RulesetStatus::PartiallyEnforced | RulesetStatus::FullyEnforced => Enforced::Yes,
    })
}

fn allow(
    mut rules: RulesetCreated,
    paths: &[PathBuf],
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, SandboxError> {
    for path in paths {
        // What is not there cannot be opened; whoever needs it says so when it is missed.
        let Ok(place) = PathFd::new(path) else {
            continue;
        };
        let access = match path.is_dir() {
            true => access,
            false => access & AccessFs::from_file(NEWEST),
        };
        rules = rules.add_rule(PathBeneath::new(place, access))?;
    }
    Ok(rules)
}
