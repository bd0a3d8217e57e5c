/**
 * Lists the groups of nodes that reach each other, each group sorted, and the nodes that lead to themselves. These are the
 * strongly connected components by Tarjan's algorithm ("Depth-first search and linear graph algorithms", 1972).
 */
export function cyclesAmong(targets: ReadonlyMap<string, readonly string[]>): string[][] {
  const cycles: string[][] = [];
  const order = new Map<string, number>();
  const stack: string[] = [];

  const enter = (node: string): number => {
    const number = order.size;
    order.set(node, number);
    stack.push(node);
    let low = number;
    for (const target of targets.get(node) ?? []) {
      if (!order.has(target)) low = Math.min(low, enter(target));
      else if (stack.includes(target)) low = Math.min(low, order.get(target) ?? low);
    }
    if (low === number) {
      const component = stack.splice(stack.indexOf(node)).sort();
      if (component.length > 1 || targets.get(node)?.includes(node)) cycles.push(component);
    }
    return low;
  };

  for (const node of targets.keys()) if (!order.has(node)) enter(node);
  return cycles;
}
