//! The graph of `use` between files, with re-exports followed to the file that defines a name. A file and
//! the files in the folder behind it count as parent and children: a parent's re-exports are no edges.

use std::collections::{BTreeMap, BTreeSet};

use super::{Name, Source};

type Module = Vec<String>;

pub(super) struct Graph<'a> {
    files: BTreeMap<Module, &'a Source<'a>>,
    /// Per module: a name that it re-exports, and where that leads.
    exports: BTreeMap<(Module, String), Module>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(sources: &'a [Source<'a>]) -> Self {
        let files: BTreeMap<Module, &Source> = sources
            .iter()
            .filter(|source| !source.module.is_empty())
            .map(|source| (source.module.clone(), source))
            .collect();
        let mut exports = BTreeMap::new();
        for (module, source) in &files {
            for name in source.names.iter().filter(|name| !name.inside) {
                let child = [module.as_slice(), &name.segments[..1]].concat();
                if let (true, Some(item)) = (files.contains_key(&child), name.segments.get(1)) {
                    let target = [module.as_slice(), &name.segments].concat();
                    exports.insert((module.clone(), item.clone()), target);
                }
            }
        }
        Self { files, exports }
    }

    /// The module whose file defines a name; `None` for a module itself and for what is not ours.
    fn resolve(&self, segments: &[String]) -> Option<&Module> {
        let mut segments = segments.to_vec();
        for _ in 0..8 {
            let length = (1..=segments.len())
                .rev()
                .find(|length| self.files.contains_key(&segments[..*length]))?;
            let (module, rest) = segments.split_at(length);
            let item = rest.first().filter(|item| *item != "self")?;
            match self.exports.get(&(module.to_vec(), item.clone())) {
                Some(target) => segments = [target.as_slice(), &rest[1..]].concat(),
                None => return self.files.get_key_value(module).map(|(key, _)| key),
            }
        }
        None
    }

    /// The modules whose files a file uses, each with the line of the first use.
    fn edges(&self, source: &Source) -> BTreeMap<&Module, usize> {
        let mut brought = BTreeMap::new();
        for name in source.names.iter().filter(|name| name.inside) {
            let segments: Vec<_> = name.segments.iter().filter(|it| *it != "self").collect();
            if let Some(last) = segments.last() {
                brought.insert((*last).clone(), segments.into_iter().cloned().collect());
            }
        }
        let mut edges = BTreeMap::new();
        for name in &source.names {
            let absolute: Module = match brought.get(&name.segments[0]) {
                _ if name.inside => name.segments.clone(),
                Some(start) => [start as &Module, &name.segments[1..]].concat(),
                None => continue,
            };
            if let Some(target) = self.resolve(&absolute)
                && !target.starts_with(&source.module)
            {
                edges.entry(target).or_insert(name.line);
            }
        }
        edges
    }

    /// Slices that the file which defines this name uses.
    pub(super) fn uses_of(&self, name: &Name) -> BTreeSet<String> {
        let file = self
            .resolve(&name.segments)
            .and_then(|at| self.files.get(at));
        let names = file.into_iter().flat_map(|source| &source.names);
        let used = names.filter(|name| name.inside);
        used.map(|name| name.part(0).to_owned()).collect()
    }

    /// A fault for each file whose uses lead back to it, by the shortest way; one for each circle.
    pub(super) fn circles(&self) -> Vec<String> {
        let edges: BTreeMap<&Module, BTreeMap<&Module, usize>> = self
            .files
            .iter()
            .map(|(module, source)| (module, self.edges(source)))
            .collect();
        let mut faults = Vec::new();
        let mut reported = BTreeSet::new();
        for start in edges.keys() {
            let Some(circle) = shortest_circle(start, &edges) else {
                continue;
            };
            if circle.iter().any(|module| reported.contains(module)) {
                continue;
            }
            reported.extend(circle.iter().copied());
            let line = edges[start][circle[0]];
            let names: Vec<_> = circle.iter().map(|module| module.join("::")).collect();
            let path = self.files[*start].path;
            faults.push(format!(
                "{path}:{line}: a circle of files: {} uses {}",
                start.join("::"),
                names.join(", which uses ")
            ));
        }
        faults
    }
}

/// The modules after `start` on the shortest way from it to itself.
fn shortest_circle<'a>(
    start: &'a Module,
    edges: &BTreeMap<&'a Module, BTreeMap<&'a Module, usize>>,
) -> Option<Vec<&'a Module>> {
    let mut ways: Vec<Vec<&Module>> = vec![Vec::new()];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = way.last().copied().unwrap_or(start);
            for next in edges[last].keys().copied() {
                let way = [way.as_slice(), &[next]].concat();
                if next == start {
                    return Some(way);
                }
                if seen.insert(next) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}
