//! Layout of a directed acyclic graph in layers (Sugiyama, Tagawa and Toda 1981).
//!
//! A node stands one layer below its lowest predecessor. An edge across several layers goes through bends, one in each
//! layer between, which take part in the ordering like nodes, so that no edge runs behind a box. Crossings are reduced by
//! sweeps of barycentres, and positions by drawing each item towards its neighbours.

use super::ReportError;

const SWEEPS: usize = 12;

/// Where everything stands. Units are nodes: neighbours in a layer are at least 1 apart, a bend takes less.
pub(super) struct Layout {
    /// Layer and horizontal position of each node.
    pub nodes: Vec<(usize, f64)>,
    /// For each edge the points it runs through: from its source over its bends to its target.
    pub edges: Vec<Vec<(usize, f64)>>,
    /// Layers.
    pub depth: usize,
    /// The largest position; the smallest is 0.
    pub width: f64,
}

struct Item {
    layer: usize,
    node: bool,
    x: f64,
}

/// Lays out `n` nodes joined by `edges` (source, target), both below `n`. On a cycle the error names it by `id`.
pub(super) fn layout(n: usize, edges: &[(usize, usize)], id: impl Fn(usize) -> String) -> Result<Layout, ReportError> {
    let layer_of = layers(n, edges).map_err(|on_cycle| ReportError::LineageCycle { id: id(on_cycle) })?;
    let mut items: Vec<Item> = layer_of.iter().map(|layer| Item { layer: *layer, node: true, x: 0.0 }).collect();
    let mut links: Vec<(usize, usize)> = Vec::new();
    let mut routes: Vec<Vec<usize>> = Vec::new();
    for (from, to) in edges {
        let mut route = vec![*from];
        for layer in layer_of[*from] + 1..layer_of[*to] {
            items.push(Item { layer, node: false, x: 0.0 });
            route.push(items.len() - 1);
        }
        route.push(*to);
        links.extend(route.windows(2).map(|pair| (pair[0], pair[1])));
        routes.push(route);
    }
    let depth = layer_of.iter().max().map_or(0, |d| d + 1);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); depth];
    items.iter().enumerate().for_each(|(i, item)| rows[item.layer].push(i)); // layers are below depth
    place(&mut items, &links, &mut rows);
    let left = items.iter().map(|i| i.x).fold(f64::INFINITY, f64::min);
    let width = items.iter().map(|i| i.x - left).fold(0.0, f64::max);
    let at = |i: usize| (items[i].layer, items[i].x - left);
    Ok(Layout {
        nodes: (0..n).map(at).collect(),
        edges: routes.iter().map(|route| route.iter().map(|i| at(*i)).collect()).collect(),
        depth,
        width,
    })
}

/// Returns the length of the longest path to each node, or a node on a cycle.
fn layers(n: usize, edges: &[(usize, usize)]) -> Result<Vec<usize>, usize> {
    let mut waiting = vec![0_usize; n];
    edges.iter().for_each(|(_, to)| waiting[*to] += 1);
    let mut layer = vec![0; n];
    let mut ready: Vec<usize> = (0..n).filter(|i| waiting[*i] == 0).collect();
    let mut done = 0;
    while let Some(node) = ready.pop() {
        done += 1;
        for (_, to) in edges.iter().filter(|(from, _)| *from == node) {
            layer[*to] = layer[*to].max(layer[node] + 1);
            waiting[*to] -= 1;
            if waiting[*to] == 0 {
                ready.push(*to);
            }
        }
    }
    match waiting.iter().position(|w| *w > 0) {
        Some(stuck) if done < n => Err(stuck),
        _ => Ok(layer),
    }
}

fn place(items: &mut [Item], links: &[(usize, usize)], rows: &mut [Vec<usize>]) {
    let mut neighbours: Vec<[Vec<usize>; 2]> = vec![[Vec::new(), Vec::new()]; items.len()];
    for (above, below) in links {
        neighbours[*below][0].push(*above);
        neighbours[*above][1].push(*below);
    }
    for row in rows.iter() {
        row.iter().enumerate().for_each(|(i, item)| items[*item].x = i as f64);
    }
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        let order: Vec<usize> = if down { (0..rows.len()).collect() } else { (0..rows.len()).rev().collect() };
        for layer in order {
            let row = &mut rows[layer];
            let wish = |items: &[Item], i: usize| {
                // The last sweeps look both ways, to straighten what the order no longer changes.
                let sides = if sweep + 4 >= SWEEPS { 0..2 } else if down { 0..1 } else { 1..2 };
                let near: Vec<f64> = neighbours[i][sides].iter().flatten().map(|j| items[*j].x).collect();
                if near.is_empty() { items[i].x } else { near.iter().sum::<f64>() / near.len() as f64 }
            };
            let mut wishes: Vec<(f64, usize)> = row.iter().map(|i| (wish(items, *i), *i)).collect();
            wishes.sort_by(|a, b| a.0.total_cmp(&b.0)); // stable: ties keep their order
            *row = wishes.iter().map(|(_, i)| *i).collect();
            // Push apart from the left, then move the row back by the mean error.
            let mut edge = f64::NEG_INFINITY;
            let mut before: Option<bool> = None;
            let mut error = 0.0;
            for (wish, i) in &wishes {
                let gap = match (before, items[*i].node) {
                    (None, _) => 0.0,
                    (Some(true), true) => 1.0,
                    (Some(false), false) => 0.3,
                    _ => 0.65,
                };
                edge = wish.max(edge + gap);
                before = Some(items[*i].node);
                items[*i].x = edge;
                error += edge - wish;
            }
            let shift = error / wishes.len().max(1) as f64;
            row.iter().for_each(|i| items[*i].x -= shift);
        }
    }
}
