// What the node has told of itself, by section, and whether who looks may change things.

export const seen = {}; // the sections as last told
export let mayChange = false;

export const rowsOf = (name) => seen[name]?.rows ?? [];

export function allowChange(isAllowed) {
  mayChange = isAllowed;
}
