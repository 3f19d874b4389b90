//! A reload that takes away more than anybody means to.

use crate::policy::{Changes, Snapshot};
use crate::settings::{Diagnostic, Diagnostics};

/// Refuses to take away every tenant, or more of the tenants or keys than `allowed` percent: that is more
/// often a mount that is not there, or another's, than what somebody wants. A key that takes another's place is not
/// taken away; a tenant whose place another takes is.
///
/// # Errors
/// When it does.
pub fn refuse_removal(
    before: &Snapshot,
    changes: &Changes,
    allowed: u32,
) -> Result<(), Diagnostics> {
    let refuse = |message: String| Err(Diagnostics(vec![Diagnostic::error(message, None)]));
    let Changes { tenants_removed, keys_added, keys_removed, .. } = changes;
    let (tenants, keys) = (before.tenant_count(), before.key_count());
    if tenants > 0 && tenants_removed.len() == tenants {
        let message = "the reload would take away every tenant: to do that, start anew";
        return refuse(message.to_owned());
    }
    let keys_lost = keys_removed.len().saturating_sub(keys_added.len());
    for (what, all, removed, lost) in [
        ("tenants", tenants, tenants_removed, tenants_removed.len()),
        ("keys", keys, keys_removed, keys_lost),
    ] {
        if lost * 100 > all * allowed as usize {
            return refuse(format!(
                "the reload would take away {lost} of {all} {what} ({removed}): `reload.allow_removal` is \
                 {allowed}%; to do that, raise it or start anew"
            ));
        }
    }
    Ok(())
}
