//! Sockets that nobody can reach any more because they stand in each other's inboxes (unix(7), `SCM_RIGHTS`).
//!
//! A description on its way keeps its socket alive, and the socket keeps the descriptions in its inbox. A program that
//! sends a socket to itself and closes it makes a circle. After a close with descriptions on their way, the sockets
//! that are held by inboxes alone are looked for: those among them that no reachable socket leads to lose what is in
//! their inboxes, and with it the circle.

use super::endpoint::{self, Endpoint};
use super::rights;
use crate::fs::file::OpenFile;
use crate::net::file::SocketFile;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

/// The unix socket behind a description.
fn endpoint_of(file: &OpenFile) -> Option<&Arc<Endpoint>> {
    SocketFile::of(file).ok()?.ops().unix().map(|u| u.endpoint())
}

/// Where a socket leads: the descriptions in its inbox, and the connections in its backlog.
type Edges = (Vec<Arc<OpenFile>>, Vec<Arc<Endpoint>>);

fn edges(endpoint: &Endpoint) -> Edges {
    let state = endpoint.lock();
    let files = state.inbox.files().cloned().collect();
    let pending = match &state.role {
        endpoint::Role::Listening { pending, .. } => pending.iter().cloned().collect(),
        _ => Vec::new(),
    };
    (files, pending)
}

/// Looks for circles; called when a socket was closed.
pub(super) fn after_close() {
    static RUNNING: AtomicBool = AtomicBool::new(false);
    if rights::in_flight() == 0 || RUNNING.swap(true, Ordering::Acquire) {
        return;
    }
    collect();
    RUNNING.store(false, Ordering::Release);
}

fn collect() {
    let all = endpoint::all();
    let graph: BTreeMap<u64, Edges> = all.iter().map(|e| (e.id(), edges(e))).collect();
    // References from inboxes, per socket on its way; the graph holds as many again.
    let mut held: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
    for file in graph.values().flat_map(|(files, _)| files) {
        if let Some(endpoint) = endpoint_of(file) {
            let entry = held.entry(endpoint.id()).or_insert((0, 0));
            entry.0 += 2;
            entry.1 = Arc::strong_count(file);
        }
    }
    let candidate = |id: u64| held.get(&id).is_some_and(|(counted, all)| counted >= all);
    // Whatever a socket that somebody holds leads to is reachable, too. Connections in a backlog are so through their
    // listener alone.
    let waiting: BTreeSet<u64> = graph.values().flat_map(|(_, pending)| pending).map(|e| e.id()).collect();
    let mut reachable: BTreeSet<u64> = BTreeSet::new();
    let mut work: Vec<u64> = graph.keys().copied().filter(|&id| !candidate(id) && !waiting.contains(&id)).collect();
    while let Some(id) = work.pop() {
        if !reachable.insert(id) {
            continue;
        }
        if let Some((files, pending)) = graph.get(&id) {
            work.extend(files.iter().filter_map(|f| endpoint_of(f)).map(|e| e.id()));
            work.extend(pending.iter().map(|e| e.id()));
        }
    }
    let lost: Vec<&Arc<Endpoint>> = all.iter().filter(|e| !reachable.contains(&e.id())).collect();
    let leftovers: Vec<_> = lost.iter().map(|e| e.lock().inbox.drain()).collect();
    drop(graph);
    leftovers.into_iter().for_each(|l| l.dispose());
}
