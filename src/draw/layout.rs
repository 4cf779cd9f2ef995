//! Where cards and edges of a layered picture stand: columns from left to right, an edge always goes to a
//! later column. Few crossings (the barycentre rule, swept there and back) and straight long edges (each
//! column placed by least squares, with the order kept). The same graph gives the same picture.

/// What is to be placed. Numbers are pixels.
pub(super) struct Graph {
    pub sizes: Vec<(f64, f64)>,
    /// The level of each card; an edge leads to a higher one.
    pub levels: Vec<usize>,
    pub edges: Vec<Edge>,
    /// The most cards in one column; a level with more gets several columns.
    pub rows: usize,
    /// Between two columns.
    pub gap: f64,
}

pub(super) struct Edge {
    pub from: usize,
    pub to: usize,
    /// How far before the card it ends.
    pub before: f64,
}

pub(super) struct Layout {
    /// Left upper corner of each card.
    pub cards: Vec<(f64, f64)>,
    /// The corners of each edge; between two of them that differ in height it is a curve.
    pub routes: Vec<Vec<(f64, f64)>>,
    /// Left and right end of each level.
    pub bands: Vec<(f64, f64)>,
    pub size: (f64, f64),
}

/// Between two cards of a column, and between an edge that passes and its neighbours.
const ROW_GAP: f64 = 18.0;
const LANE_GAP: f64 = 10.0;
const SWEEPS: usize = 12;

/// A card, or a place where an edge passes through a column.
#[derive(Clone, Copy, PartialEq)]
enum Item {
    Card(usize),
    Lane(usize),
}

struct Board<'a> {
    graph: &'a Graph,
    items: Vec<Item>,
    /// Indices of `items`, from top to bottom.
    columns: Vec<Vec<usize>>,
    left: Vec<Vec<usize>>,
    right: Vec<Vec<usize>>,
    /// The items of each edge, its two cards included.
    chains: Vec<Vec<usize>>,
    /// The middle of each item.
    middles: Vec<f64>,
}

pub(super) fn place(graph: &Graph) -> Layout {
    let (column_of, level_of) = columns(graph);
    let mut board = Board::new(graph, &column_of, level_of.len());
    board.reduce_crossings();
    board.choose_heights();
    board.layout(&column_of, &level_of)
}

/// The column of each card, and the level of each column.
fn columns(graph: &Graph) -> (Vec<usize>, Vec<usize>) {
    let has_successor = |card: usize| graph.edges.iter().any(|edge| edge.from == card);
    let mut column_of = vec![0; graph.levels.len()];
    let mut level_of = Vec::new();
    let last = graph.levels.iter().max().copied().unwrap_or(0);
    for level in 0..=last {
        let mut cards: Vec<usize> =
            (0..graph.levels.len()).filter(|&card| graph.levels[card] == level).collect();
        let needed = cards.len().div_ceil(graph.rows.max(1)).max(1);
        if needed > 1 {
            // What nothing waits for comes first, so that fewer edges pass through the level.
            cards.sort_by_key(|&card| has_successor(card));
        }
        let rows = cards.len().div_ceil(needed).max(1);
        for (n, card) in cards.into_iter().enumerate() {
            column_of[card] = level_of.len() + n / rows;
        }
        level_of.extend(std::iter::repeat_n(level, needed));
    }
    (column_of, level_of)
}

impl<'a> Board<'a> {
    fn new(graph: &'a Graph, column_of: &[usize], count: usize) -> Self {
        let mut board = Board {
            graph,
            items: (0..graph.sizes.len()).map(Item::Card).collect(),
            columns: vec![Vec::new(); count],
            left: Vec::new(),
            right: Vec::new(),
            chains: Vec::new(),
            middles: Vec::new(),
        };
        for (card, &column) in column_of.iter().enumerate() {
            board.columns[column].push(card);
        }
        for (n, edge) in graph.edges.iter().enumerate() {
            let mut chain = vec![edge.from];
            for column in column_of[edge.from] + 1..column_of[edge.to] {
                board.columns[column].push(board.items.len());
                chain.push(board.items.len());
                board.items.push(Item::Lane(n));
            }
            chain.push(edge.to);
            board.chains.push(chain);
        }
        board.left = vec![Vec::new(); board.items.len()];
        board.right = vec![Vec::new(); board.items.len()];
        for chain in &board.chains {
            for pair in chain.windows(2) {
                board.right[pair[0]].push(pair[1]);
                board.left[pair[1]].push(pair[0]);
            }
        }
        board
    }

    /// Sweeps there and back, and keeps the best that was seen.
    fn reduce_crossings(&mut self) {
        let mut best = (self.crossings(), self.columns.clone());
        for sweep in 0..SWEEPS {
            let forward = sweep % 2 == 0;
            for n in 0..self.columns.len() {
                let column = if forward { n } else { self.columns.len() - 1 - n };
                self.sort_by_barycentre(column, forward);
            }
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.columns.clone());
            }
        }
        self.columns = best.1;
    }

    fn sort_by_barycentre(&mut self, column: usize, forward: bool) {
        let places = self.places();
        let neighbours = if forward { &self.left } else { &self.right };
        let key = |item: usize| {
            let near = &neighbours[item];
            if near.is_empty() {
                return places[item];
            }
            near.iter().map(|&other| places[other]).sum::<f64>() / near.len() as f64
        };
        self.columns[column].sort_by(|&a, &b| key(a).total_cmp(&key(b)));
    }

    /// Each item's place in its column, from 0 at the top to 1.
    fn places(&self) -> Vec<f64> {
        let mut places = vec![0.0; self.items.len()];
        for column in &self.columns {
            for (n, &item) in column.iter().enumerate() {
                places[item] = (n as f64 + 0.5) / column.len() as f64;
            }
        }
        places
    }

    fn crossings(&self) -> usize {
        let mut row = vec![0; self.items.len()];
        for column in &self.columns {
            column.iter().enumerate().for_each(|(n, &item)| row[item] = n);
        }
        let crossings_right_of = |column: &Vec<usize>| {
            let mut ends: Vec<usize> = Vec::new();
            for &item in column {
                let mut mine: Vec<usize> = self.right[item].iter().map(|&to| row[to]).collect();
                mine.sort_unstable();
                ends.extend(mine);
            }
            inversions(&ends)
        };
        self.columns.iter().map(crossings_right_of).sum()
    }

    fn height(&self, item: usize) -> f64 {
        match self.items[item] {
            Item::Card(card) => self.graph.sizes[card].1,
            Item::Lane(_) => 0.0,
        }
    }

    /// From the middle of an item to that of the next below it, at least.
    fn distance(&self, above: usize, below: usize) -> f64 {
        let is_lane = |item: usize| matches!(self.items[item], Item::Lane(_));
        let gap = if is_lane(above) || is_lane(below) { LANE_GAP } else { ROW_GAP };
        (self.height(above) + self.height(below)) / 2.0 + gap
    }

    fn choose_heights(&mut self) {
        self.middles = vec![0.0; self.items.len()];
        for column in &self.columns {
            let mut at = 0.0;
            for pair in column.windows(2) {
                at += self.distance(pair[0], pair[1]);
                self.middles[pair[1]] = at;
            }
            // All columns around one line; cards that nothing connects are a table.
            if !self.graph.edges.is_empty() {
                column.iter().for_each(|&item| self.middles[item] -= at / 2.0);
            }
        }
        for sweep in 0..SWEEPS {
            let forward = sweep % 2 == 0;
            for n in 0..self.columns.len() {
                let column = if forward { n } else { self.columns.len() - 1 - n };
                self.settle(column);
            }
        }
    }

    /// Every item of the column as near to the middle of its neighbours as the others let it.
    fn settle(&mut self, column: usize) {
        let items = &self.columns[column];
        let mut offset = 0.0;
        let mut wishes = Vec::with_capacity(items.len());
        let mut offsets = Vec::with_capacity(items.len());
        for (n, &item) in items.iter().enumerate() {
            if n > 0 {
                offset += self.distance(items[n - 1], item);
            }
            let near = self.left[item].iter().chain(&self.right[item]);
            let (sum, count) = near
                .fold((0.0, 0.0), |(sum, count), &other| (sum + self.middles[other], count + 1.0));
            let is_lane = matches!(self.items[item], Item::Lane(_));
            // A bend in a lane is seen more than a card beside its neighbours' middle.
            let weight = if is_lane { 4.0 } else { f64::max(count, 0.2) };
            let wish = if count > 0.0 { sum / count } else { self.middles[item] };
            wishes.push((wish - offset, weight));
            offsets.push(offset);
        }
        let settled = ascending(&wishes);
        for ((&item, place), offset) in self.columns[column].iter().zip(settled).zip(offsets) {
            self.middles[item] = place + offset;
        }
    }

    fn layout(&self, column_of: &[usize], level_of: &[usize]) -> Layout {
        let columns = self.columns.len();
        let mut widths = vec![0.0; columns];
        for (card, &column) in column_of.iter().enumerate() {
            widths[column] = f64::max(widths[column], self.graph.sizes[card].0);
        }
        let mut lefts = Vec::with_capacity(columns);
        let mut x = 0.0;
        for width in &widths {
            lefts.push(x);
            x += width + self.graph.gap;
        }
        let all = 0..self.items.len();
        let top = all.clone().map(|item| self.middles[item] - self.height(item) / 2.0);
        let top = top.fold(f64::INFINITY, f64::min);
        let bottom = all.map(|item| self.middles[item] + self.height(item) / 2.0);
        let bottom = bottom.fold(f64::NEG_INFINITY, f64::max);
        let y = |item: usize| self.middles[item] - top;
        let card = |card: usize| (lefts[column_of[card]], y(card) - self.height(card) / 2.0);
        let route = |(edge, chain): (&Edge, &Vec<usize>)| {
            let start = lefts[column_of[edge.from]] + self.graph.sizes[edge.from].0;
            let mut points = vec![(start, y(edge.from))];
            for (n, &item) in chain.iter().enumerate().skip(1).take(chain.len() - 2) {
                let column = column_of[edge.from] + n;
                points.push((lefts[column], y(item)));
                points.push((lefts[column] + widths[column], y(item)));
            }
            points.push((lefts[column_of[edge.to]] - edge.before, y(edge.to)));
            points
        };
        let band = |level: usize| {
            let of_level = (0..columns).filter(|&column| level_of[column] == level);
            of_level.fold((f64::INFINITY, 0.0), |(left, right), column| {
                (f64::min(left, lefts[column]), f64::max(right, lefts[column] + widths[column]))
            })
        };
        Layout {
            cards: (0..self.graph.sizes.len()).map(card).collect(),
            routes: self.graph.edges.iter().zip(&self.chains).map(route).collect(),
            bands: (0..level_of.last().map_or(0, |last| last + 1)).map(band).collect(),
            size: (x - self.graph.gap, f64::max(bottom - top, 0.0)),
        }
    }
}

/// Pairs that are in the wrong order: by merging, so that a thousand edges are nothing.
fn inversions(list: &[usize]) -> usize {
    fn sort(list: &mut [usize], spare: &mut Vec<usize>) -> usize {
        if list.len() < 2 {
            return 0;
        }
        let (low, high) = list.split_at_mut(list.len() / 2);
        let mut found = sort(low, spare) + sort(high, spare);
        spare.clear();
        let (mut a, mut b) = (0, 0);
        while a < low.len() || b < high.len() {
            if b == high.len() || (a < low.len() && low[a] <= high[b]) {
                spare.push(low[a]);
                a += 1;
            } else {
                found += low.len() - a;
                spare.push(high[b]);
                b += 1;
            }
        }
        list.copy_from_slice(spare);
        found
    }
    sort(&mut list.to_vec(), &mut Vec::with_capacity(list.len()))
}

/// The ascending numbers that are nearest to the wishes by weighted squares (pool adjacent violators).
fn ascending(wishes: &[(f64, f64)]) -> Vec<f64> {
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for &(wish, weight) in wishes {
        let mut pool = (wish, weight, 1);
        while let Some(&(before, heavy, count)) = pools.last()
            && before >= pool.0
        {
            let weight = heavy + pool.1;
            pool = ((before * heavy + pool.0 * pool.1) / weight, weight, count + pool.2);
            pools.pop();
        }
        pools.push(pool);
    }
    pools.iter().flat_map(|&(place, _, count)| std::iter::repeat_n(place, count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(levels: &[usize], edges: &[(usize, usize)]) -> Graph {
        let edge = |&(from, to): &(usize, usize)| Edge { from, to, before: 0.0 };
        Graph {
            sizes: vec![(100.0, 50.0); levels.len()],
            levels: levels.to_vec(),
            edges: edges.iter().map(edge).collect(),
            rows: 12,
            gap: 80.0,
        }
    }

    #[test]
    fn what_can_be_drawn_without_a_crossing_is() {
        let graph = graph(&[0, 0, 0, 1, 1, 1], &[(0, 5), (1, 4), (2, 3), (0, 4)]);
        let (column_of, level_of) = columns(&graph);
        let mut board = Board::new(&graph, &column_of, level_of.len());
        assert_eq!(board.crossings(), 4);
        board.reduce_crossings();
        assert_eq!(board.crossings(), 0);
    }

    #[test]
    fn a_chain_is_a_straight_line() {
        let layout = place(&graph(&[0, 1, 2, 0, 0], &[(0, 1), (1, 2), (0, 2)]));
        assert!((layout.cards[1].1 - layout.cards[0].1).abs() < 40.0);
        // The edge over two levels goes around the card between them.
        let lane = layout.routes[2][1].1;
        let middle = layout.cards[1].1;
        assert!(lane < middle || lane > middle + 50.0, "{lane} {middle}");
    }

    #[test]
    fn a_level_of_many_gets_several_columns() {
        let layout = place(&graph(&[0; 30], &[]));
        let lefts: std::collections::BTreeSet<u64> =
            layout.cards.iter().map(|card| card.0 as u64).collect();
        assert_eq!(lefts.len(), 3);
        assert_eq!(layout.bands, [(0.0, 460.0)]);
    }

    #[test]
    fn order_is_kept_and_wishes_are_met_as_far_as_it_lets_them() {
        assert_eq!(ascending(&[(1.0, 1.0), (3.0, 1.0), (5.0, 1.0)]), [1.0, 3.0, 5.0]);
        assert_eq!(ascending(&[(4.0, 1.0), (2.0, 1.0), (9.0, 1.0)]), [3.0, 3.0, 9.0]);
        assert_eq!(inversions(&[3, 1, 2, 0]), 5);
    }
}
