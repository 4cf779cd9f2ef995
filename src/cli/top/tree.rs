//! What waits for what, as a tree: each container once, below that of its needs which comes last. Pure.

/// A container's place in the tree: its index, and the lines that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) index: usize,
    pub(super) branch: String,
}

/// The tree of containers by what each needs; whatever has the same place stays in the order it came in.
pub(super) fn tree(needs: &[Vec<usize>]) -> Vec<Leaf> {
    let levels = levels(needs);
    let parent = |index: usize| {
        let mut last: Option<usize> = None;
        for need in needs[index].iter().copied().filter(|need| levels[*need] < levels[index]) {
            if last.is_none_or(|last| levels[need] > levels[last]) {
                last = Some(need);
            }
        }
        last
    };
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    let mut roots = Vec::new();
    for index in 0..needs.len() {
        match parent(index) {
            Some(parent) => children[parent].push(index),
            None => roots.push(index),
        }
    }
    let mut leaves = Vec::with_capacity(needs.len());
    // Not by calls in calls: a chain may be as long as a pod has containers.
    let mut open: Vec<(usize, String, String)> =
        roots.into_iter().rev().map(|root| (root, String::new(), String::new())).collect();
    while let Some((index, branch, stem)) = open.pop() {
        for (place, child) in children[index].iter().rev().enumerate() {
            let (last, below) = if place == 0 { ("└ ", "  ") } else { ("├ ", "│ ") };
            open.push((*child, format!("{stem}{last}"), format!("{stem}{below}")));
        }
        leaves.push(Leaf { index, branch });
    }
    leaves
}

/// How many others must come before each, one after the other. A plan has no cycle; one that had would end.
fn levels(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut levels = vec![0; needs.len()];
    for _ in 0..needs.len() {
        let mut changed = false;
        for index in 0..needs.len() {
            let level = needs[index].iter().map(|need| levels[*need] + 1).max().unwrap_or(0);
            if level > levels[index] {
                levels[index] = level;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drawn(names: &[&str], needs: &[Vec<usize>]) -> Vec<String> {
        let line = |leaf: Leaf| format!("{}{}", leaf.branch, names[leaf.index]);
        tree(needs).into_iter().map(line).collect()
    }

    #[test]
    fn each_stands_below_the_last_that_it_needs() {
        let names = ["web", "db", "cache", "migrate", "alone"];
        let needs = [vec![1, 2, 3], vec![], vec![], vec![1], vec![]];
        assert_eq!(drawn(&names, &needs), ["db", "└ migrate", "  └ web", "cache", "alone"]);
        let two = [vec![1], vec![], vec![1], vec![2], vec![]];
        assert_eq!(drawn(&names, &two), ["db", "├ web", "└ cache", "  └ migrate", "alone"]);
        assert_eq!(drawn(&names, &vec![vec![]; 5]), names, "where nothing waits, nothing moves");
    }

    #[test]
    fn a_long_chain_is_no_deep_call() {
        let needs: Vec<Vec<usize>> =
            (0..2000_usize).map(|n| n.checked_sub(1).into_iter().collect()).collect();
        assert_eq!(tree(&needs).len(), 2000);
    }

    proptest! {
        #[test]
        fn each_is_there_once_and_after_what_it_stands_below(
            needs in prop::collection::vec(prop::collection::vec(0..20_usize, 0..4), 0..20)
        ) {
            // Also with cycles, which no plan has.
            let count = needs.len();
            let needs: Vec<Vec<usize>> = needs
                .into_iter()
                .map(|of| of.into_iter().filter(|need| *need < count).collect())
                .collect();
            let mut found: Vec<usize> = tree(&needs).iter().map(|leaf| leaf.index).collect();
            found.sort_unstable();
            prop_assert_eq!(found, (0..count).collect::<Vec<_>>());
        }
    }
}
