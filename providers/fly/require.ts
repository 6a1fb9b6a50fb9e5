import { createRequire } from "node:module";

/** `ws` is CommonJS, and in a bundle that is an ECMAScript module nothing else gives it Node.js's own modules. Import this first. */
(globalThis as { require?: unknown }).require ??= createRequire(import.meta.url);
