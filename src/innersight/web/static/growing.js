/** Long lists: further rows are added as the reader nears the end, and all of them before printing. */

const AT_ONCE = 40;

/** Add `make(item)` of all `items` to the end of `list`, some at a time. */
export function growing(list, items, make) {
  let next = 0;
  const end = document.createElement("div");
  const life = new AbortController();
  const add = (count) => {
    end.before(...items.slice(next, next + count).map(make));
    next += count;
    if (next < items.length) return;
    end.remove();
    watcher.disconnect();
    life.abort();
  };
  const watcher = new IntersectionObserver((changes) => {
    if (!changes.some(({ isIntersecting }) => isIntersecting)) return;
    add(AT_ONCE);
    // Where the end is still near, it does not come near again.
    watcher.unobserve(end);
    if (end.isConnected) watcher.observe(end);
  }, { rootMargin: "1200px" });
  list.append(end);
  watcher.observe(end);
  addEventListener("whole", () => (list.isConnected ? add(items.length) : life.abort()), { signal: life.signal });
}
