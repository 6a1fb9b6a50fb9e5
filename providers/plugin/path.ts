/** Writes a property path as the engine does: `nodes["acme/hub"].functions[0]`. */
export function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((step, index) => {
      if (typeof step === "number") return `[${step}]`;
      const key = String(step);
      if (/^[A-Za-z_]\w*$/.test(key)) return index === 0 ? key : `.${key}`;
      return `["${key.replaceAll('"', '\\"')}"]`;
    })
    .join("");
}
