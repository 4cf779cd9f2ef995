//! Cycles in `dependsOn`: found in any graph, each reported once, as the whole round.

/// Every cycle, as indices in the order of waiting; `edges[i]` is what `i` waits for. Linear in nodes and
/// edges.
pub fn cycles(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut graph = Graph::new(edges);
    let mut found = Vec::new();
    // A walk along nodes that wait for ever, which must come back to itself.
    let mut path: Vec<usize> = Vec::new();
    let mut place = vec![None; edges.len()];
    let mut looked_at = vec![0; edges.len()];
    let mut start = 0;
    loop {
        // Who could start after a round was taken away is at the end of the path.
        while path.last().is_some_and(|last| graph.gone[*last]) {
            path.pop();
        }
        let Some(&last) = path.last() else {
            let Some(next) = (start..edges.len()).find(|index| !graph.gone[*index]) else {
                return found;
            };
            start = next;
            place[next] = Some(0);
            path.push(next);
            continue;
        };
        let next = &mut looked_at[last];
        while edges[last].get(*next).is_some_and(|target| graph.gone[*target]) {
            *next += 1;
        }
        // What waits for ever always waits for something that does.
        let Some(&target) = edges[last].get(*next) else { return found };
        match place[target].filter(|place| path.get(*place) == Some(&target)) {
            Some(first) => {
                let mut cycle = path.split_off(first);
                graph.remove(&cycle);
                let earliest = (0..cycle.len()).min_by_key(|place| cycle[*place]).unwrap_or(0);
                cycle.rotate_left(earliest);
                found.push(cycle);
            }
            None => {
                place[target] = Some(path.len());
                path.push(target);
            }
        }
    }
}

/// What still waits for something.
struct Graph {
    gone: Vec<bool>,
    /// How many that are not gone each waits for.
    waits: Vec<usize>,
    followers: Vec<Vec<usize>>,
}

impl Graph {
    /// Without whatever can start.
    fn new(edges: &[Vec<usize>]) -> Self {
        let mut followers = vec![Vec::new(); edges.len()];
        for (index, targets) in edges.iter().enumerate() {
            targets.iter().for_each(|target| followers[*target].push(index));
        }
        let waits: Vec<usize> = edges.iter().map(Vec::len).collect();
        let mut graph = Self { gone: vec![false; edges.len()], waits, followers };
        let ready: Vec<usize> = (0..edges.len()).filter(|index| graph.waits[*index] == 0).collect();
        graph.remove(&ready);
        graph
    }

    /// Takes these away, and whatever can start then.
    fn remove(&mut self, indices: &[usize]) {
        indices.iter().for_each(|index| self.gone[*index] = true);
        let mut ready = indices.to_vec();
        while let Some(index) = ready.pop() {
            for follower in std::mem::take(&mut self.followers[index]) {
                self.waits[follower] -= 1;
                if self.waits[follower] == 0 && !self.gone[follower] {
                    self.gone[follower] = true;
                    ready.push(follower);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_found_once_and_whole() {
        assert!(cycles(&[vec![1], vec![2], vec![]]).is_empty());
        assert_eq!(cycles(&[vec![0]]), [[0]]);
        assert_eq!(cycles(&[vec![1], vec![2], vec![1], vec![0]]), [[1, 2]]);
        assert_eq!(cycles(&[vec![1], vec![0], vec![3], vec![2, 0]]), [[0, 1], [2, 3]]);
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        let last = 100_000;
        let edges: Vec<Vec<usize>> = (0..=last).map(|i| vec![(i + 1) % (last + 1)]).collect();
        assert_eq!(cycles(&edges)[0].len(), last + 1);
    }

    #[test]
    fn many_rounds_behind_a_long_way_take_no_longer() {
        let (way, rounds) = (50_000, 50_000);
        let mut edges: Vec<Vec<usize>> = (0..way).map(|i| vec![i + 1]).collect();
        edges.push((way + 1..=way + rounds).collect());
        edges.extend((way + 1..=way + rounds).map(|i| vec![i]));
        assert_eq!(cycles(&edges).len(), rounds);
    }
}
