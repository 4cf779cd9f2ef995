//! Cycles in `dependsOn`: found in any graph, each reported once, as the whole round.

/// Every cycle, as indices in the order of waiting; `edges[i]` is what `i` waits for.
pub fn cycles(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut gone = vec![false; edges.len()];
    let mut found = Vec::new();
    loop {
        strip(edges, &mut gone);
        let Some(start) = gone.iter().position(|gone| !gone) else { return found };
        let cycle = walk(edges, &gone, start);
        cycle.iter().for_each(|index| gone[*index] = true);
        found.push(cycle);
    }
}

/// Takes away whatever can start.
fn strip(edges: &[Vec<usize>], gone: &mut [bool]) {
    let mut waits = vec![0; edges.len()];
    let mut followers = vec![Vec::new(); edges.len()];
    for (index, targets) in edges.iter().enumerate().filter(|(index, _)| !gone[*index]) {
        for target in targets.iter().filter(|target| !gone[**target]) {
            waits[index] += 1;
            followers[*target].push(index);
        }
    }
    let mut ready: Vec<usize> =
        (0..edges.len()).filter(|index| !gone[*index] && waits[*index] == 0).collect();
    while let Some(index) = ready.pop() {
        gone[index] = true;
        for follower in &followers[index] {
            waits[*follower] -= 1;
            if waits[*follower] == 0 {
                ready.push(*follower);
            }
        }
    }
}

/// From a node that waits for ever to the round that it waits for, begun at its earliest member.
fn walk(edges: &[Vec<usize>], gone: &[bool], start: usize) -> Vec<usize> {
    let (mut path, mut at) = (Vec::new(), start);
    let mut seen = vec![None; edges.len()];
    loop {
        if let Some(first) = seen[at] {
            let mut cycle: Vec<usize> = path.split_off(first);
            let earliest = (0..cycle.len()).min_by_key(|place| cycle[*place]).unwrap_or(0);
            cycle.rotate_left(earliest);
            return cycle;
        }
        seen[at] = Some(path.len());
        path.push(at);
        // What is left after `strip` always waits for something that is left.
        match edges[at].iter().find(|target| !gone[**target]) {
            Some(next) => at = *next,
            None => return path,
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
}
