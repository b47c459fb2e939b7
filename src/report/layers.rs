//! Layout of a directed acyclic graph in layers (Sugiyama, Tagawa and Toda 1981).
//!
//! A node stands one layer below its lowest predecessor, or lower where that brings it next to the nodes that read it. An edge across several layers goes through bends, one in each
//! layer between, which take part in the ordering like nodes, so that no edge runs behind a box. Sweeps of barycentres
//! reduce crossings; then, the order fixed, nodes are drawn towards their neighbours and the bends of an edge to one line.

use super::ReportError;

const ORDER_SWEEPS: usize = 8;
const POSITION_SWEEPS: usize = 40;

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
    /// The edge of which this is a bend; `None` for a node.
    bend_of: Option<usize>,
    x: f64,
}

/// Lays out `n` nodes joined by `edges` (source, target), both below `n`. On a cycle the error names it by `id`.
pub(super) fn layout(
    n: usize,
    edges: &[(usize, usize)],
    id: impl Fn(usize) -> String,
) -> Result<Layout, ReportError> {
    let layer_of = layers(n, edges).map_err(|on_cycle| ReportError::LineageCycle { id: id(on_cycle) })?;
    let mut items: Vec<Item> = layer_of
        .iter()
        .map(|layer| Item {
            layer: *layer,
            bend_of: None,
            x: 0.0,
        })
        .collect();
    let mut links: Vec<(usize, usize)> = Vec::new();
    let mut routes: Vec<Vec<usize>> = Vec::new();
    for (edge, (from, to)) in edges.iter().enumerate() {
        let mut route = vec![*from];
        for layer in layer_of[*from] + 1..layer_of[*to] {
            items.push(Item {
                layer,
                bend_of: Some(edge),
                x: 0.0,
            });
            route.push(items.len() - 1);
        }
        route.push(*to);
        links.extend(route.windows(2).map(|pair| (pair[0], pair[1])));
        routes.push(route);
    }
    let depth = layer_of.iter().max().map_or(0, |d| d + 1);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); depth];
    items
        .iter()
        .enumerate()
        .for_each(|(i, item)| rows[item.layer].push(i)); // layers are below depth
    place(&mut items, &links, &routes, &mut rows);
    let left = items.iter().map(|i| i.x).fold(f64::INFINITY, f64::min);
    let width = items.iter().map(|i| i.x - left).fold(0.0, f64::max);
    let at = |i: usize| (items[i].layer, items[i].x - left);
    Ok(Layout {
        nodes: (0..n).map(at).collect(),
        edges: routes
            .iter()
            .map(|route| route.iter().map(|i| at(*i)).collect())
            .collect(),
        depth,
        width,
    })
}

/// Returns the layer of each node, or a node on a cycle.
fn layers(n: usize, edges: &[(usize, usize)]) -> Result<Vec<usize>, usize> {
    let mut waiting = vec![0_usize; n];
    edges.iter().for_each(|(_, to)| waiting[*to] += 1);
    let mut layer = vec![0; n];
    let mut ready: Vec<usize> = (0..n).filter(|i| waiting[*i] == 0).collect();
    let mut order = Vec::new();
    while let Some(node) = ready.pop() {
        order.push(node);
        for (_, to) in edges.iter().filter(|(from, _)| *from == node) {
            layer[*to] = layer[*to].max(layer[node] + 1);
            waiting[*to] -= 1;
            if waiting[*to] == 0 {
                ready.push(*to);
            }
        }
    }
    if let Some(stuck) = waiting.iter().position(|w| *w > 0) {
        return Err(stuck);
    }
    // From the results back: down to just above the first reader, unless that lengthens more edges than it shortens.
    for node in order.into_iter().rev() {
        let readers = || {
            edges
                .iter()
                .filter(|(from, _)| *from == node)
                .map(|(_, to)| layer[*to])
        };
        let inputs = edges.iter().filter(|(_, to)| *to == node).count();
        if let Some(first) = readers().min().filter(|_| inputs <= readers().count()) {
            layer[node] = layer[node].max(first - 1); // a reader is below, so not in layer 0
        }
    }
    Ok(layer)
}

fn place(items: &mut [Item], links: &[(usize, usize)], routes: &[Vec<usize>], rows: &mut [Vec<usize>]) {
    let mut neighbours: Vec<[Vec<usize>; 2]> = vec![[Vec::new(), Vec::new()]; items.len()];
    for (above, below) in links {
        neighbours[*below][0].push(*above);
        neighbours[*above][1].push(*below);
    }
    for row in rows.iter() {
        row.iter()
            .enumerate()
            .for_each(|(i, item)| items[*item].x = i as f64);
    }
    let mean = |items: &[Item], of: &mut dyn Iterator<Item = &usize>| {
        let (sum, n) = of.fold((0.0, 0), |(sum, n), j| (sum + items[*j].x, n + 1));
        (n > 0).then(|| sum / f64::from(n))
    };
    for sweep in 0..ORDER_SWEEPS + POSITION_SWEEPS {
        let (ordering, down) = (sweep < ORDER_SWEEPS, sweep % 2 == 0);
        for step in 0..rows.len() {
            let row = &mut rows[if down { step } else { rows.len() - 1 - step }];
            let wish = |i: usize| match items[i].bend_of {
                Some(edge) if !ordering => {
                    let bends = &routes[edge][1..routes[edge].len() - 1];
                    let straight = mean(items, &mut bends.iter()).unwrap_or(0.0);
                    let towards = mean(items, &mut neighbours[i].iter().flatten()).unwrap_or(straight);
                    straight
                        + 0.2
                            * (towards - straight)
                            * f64::from(u8::from(sweep + 12 < ORDER_SWEEPS + POSITION_SWEEPS))
                }
                _ => {
                    let sides = if !ordering {
                        0..2
                    } else if down {
                        0..1
                    } else {
                        1..2
                    };
                    mean(items, &mut neighbours[i][sides].iter().flatten()).unwrap_or(items[i].x)
                }
            };
            let mut wishes: Vec<(f64, usize)> = row.iter().map(|i| (wish(*i), *i)).collect();
            if ordering {
                wishes.sort_by(|a, b| a.0.total_cmp(&b.0)); // stable: ties keep their order
                *row = wishes.iter().map(|(_, i)| *i).collect();
            }
            spread(items, &wishes);
        }
    }
}

/// Moves the items of a layer to their wishes as far as the distances between them allow: midway between the result of
/// pushing from the left and that of pushing from the right, both of which keep the distances, so that it does too.
fn spread(items: &mut [Item], wishes: &[(f64, usize)]) {
    let gap = |a: usize, b: usize| match (items[a].bend_of, items[b].bend_of) {
        (None, None) => 1.0,
        (Some(_), Some(_)) => 0.2,
        _ => 0.62,
    };
    let n = wishes.len();
    let mut from_left: Vec<f64> = wishes.iter().map(|w| w.0).collect();
    let mut from_right = from_left.clone();
    for i in 1..n {
        from_left[i] = from_left[i].max(from_left[i - 1] + gap(wishes[i - 1].1, wishes[i].1));
    }
    for i in (1..n).rev() {
        from_right[i - 1] = from_right[i - 1].min(from_right[i] - gap(wishes[i - 1].1, wishes[i].1));
    }
    for (i, (_, item)) in wishes.iter().enumerate() {
        items[*item].x = 0.5 * (from_left[i] + from_right[i]);
    }
}
