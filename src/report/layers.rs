//! Layout of a directed acyclic graph of a few nodes in layers, from sources to results.
//!
//! A node stands one layer below its lowest predecessor, or lower where that brings it next to the nodes that
//! read it. An edge across several layers goes through bends, one in each layer between, which have a place
//! of their own in it, so that no edge runs behind a box. In a layer, all stand in the order of what is above
//! them, and the layer in the middle of the page.

use super::ReportError;

/// Distances between neighbours in a layer of whom none, one or both are bends.
const GAPS: [f64; 3] = [1.0, 0.62, 0.2];

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

/// Lays out `n` nodes joined by `edges` (source, target), both below `n`. On a cycle the error names it by
/// `id`.
pub(super) fn layout(
    n: usize,
    edges: &[(usize, usize)],
    id: impl Fn(usize) -> String,
) -> Result<Layout, ReportError> {
    // Nodes first, then the bends of each edge.
    let mut layer = layers(n, edges).map_err(|on_cycle| ReportError::LineageCycle { id: id(on_cycle) })?;
    let mut routes: Vec<Vec<usize>> = Vec::new();
    for (from, to) in edges {
        let first = layer.len();
        layer.extend(layer[*from] + 1..layer[*to]);
        routes.push([&[*from], &Vec::from_iter(first..layer.len())[..], &[*to]].concat());
    }
    let depth = layer.iter().max().map_or(0, |last| last + 1);
    let x = positions(n, &layer, &routes, depth);
    let left = x.iter().copied().fold(f64::INFINITY, f64::min);
    let at = |i: &usize| (layer[*i], x[*i] - left);
    Ok(Layout {
        nodes: (0..n).map(|i| at(&i)).collect(),
        edges: routes
            .iter()
            .map(|route| route.iter().map(at).collect())
            .collect(),
        depth,
        width: x.iter().map(|x| x - left).fold(0.0, f64::max),
    })
}

/// Returns the layer of each node, or a node on a cycle.
fn layers(n: usize, edges: &[(usize, usize)]) -> Result<Vec<usize>, usize> {
    let mut layer = vec![0; n];
    let mut sinks = edges.first().map(|(_, to)| *to);
    // A path has fewer than `n` edges: what still sinks after as many rounds is on a cycle.
    for _ in 0..=n {
        sinks = None;
        for (from, to) in edges {
            if layer[*to] <= layer[*from] {
                layer[*to] = layer[*from] + 1;
                sinks = Some(*to);
            }
        }
    }
    if let Some(on_cycle) = sinks {
        return Err(on_cycle);
    }
    // From the results back: down to just above the first reader, unless that lengthens more edges than it
    // shortens.
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|node| std::cmp::Reverse(layer[*node]));
    for node in order {
        let readers: Vec<usize> = edges.iter().filter(|e| e.0 == node).map(|e| layer[e.1]).collect();
        let inputs = edges.iter().filter(|e| e.1 == node).count();
        if let Some(first) = readers.iter().min().filter(|_| inputs <= readers.len()) {
            layer[node] = first - 1; // a reader is below, so not in layer 0
        }
    }
    Ok(layer)
}

/// Returns the horizontal position of each of `n` nodes and of the bends after them. Layers are ordered by
/// what is above them, by what is below, and again by what is above: what stands equal then keeps its order.
fn positions(n: usize, layer: &[usize], routes: &[Vec<usize>], depth: usize) -> Vec<f64> {
    let mut x = vec![0.0; layer.len()];
    for above in [true, false, true] {
        for step in 0..depth {
            let this = if above { step } else { depth - 1 - step };
            let wish = |i: usize| {
                let links = routes
                    .iter()
                    .flat_map(|route| route.windows(2))
                    .map(|link| (link[0], link[1]));
                let links = links.map(|(from, to)| if above { (from, to) } else { (to, from) });
                let near: Vec<f64> = links.filter(|link| link.1 == i).map(|link| x[link.0]).collect();
                let mean = near.iter().sum::<f64>() / near.len() as f64;
                if near.is_empty() { x[i] } else { mean }
            };
            let row = (0..layer.len()).filter(|i| layer[*i] == this);
            let mut row: Vec<(f64, usize)> = row.map(|i| (wish(i), i)).collect();
            row.sort_by(|a, b| a.0.total_cmp(&b.0).then(x[a.1].total_cmp(&x[b.1])));
            let mut offsets = vec![0.0];
            for pair in row.windows(2) {
                let bends = usize::from(pair[0].1 >= n) + usize::from(pair[1].1 >= n);
                offsets.push(offsets[offsets.len() - 1] + GAPS[bends]);
            }
            let middle = offsets[offsets.len() - 1] / 2.0;
            for ((_, i), offset) in row.iter().zip(&offsets) {
                x[*i] = offset - middle;
            }
        }
    }
    x
}
