import { closeSync, fstatSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";

/** A log that never takes more than twice its limit on disk: a full file becomes `<path>.1`, in place of the one before. */
export interface LogFile {
  write(text: string | Uint8Array): void;
  close(): void;
}

export const defaultLogLimit = 5 * 1024 * 1024;

/** Opens a log for appending, mode 0600. Writes are synchronous, so that the last words before a crash are on disk. */
export function openLog(path: string, limitBytes = defaultLogLimit): LogFile {
  let file = openSync(path, "a", 0o600);
  let size = fstatSync(file).size;
  return { write, close: () => closeSync(file) };

  function write(text: string | Uint8Array) {
    const bytes = typeof text === "string" ? Buffer.from(text) : text;
    if (size > 0 && size + bytes.length > limitBytes) rotate();
    for (let done = 0; done < bytes.length;) {
      // What came at once may be larger than a whole file.
      if (size >= limitBytes) rotate();
      const written = writeSync(file, bytes, done, Math.min(bytes.length - done, limitBytes - size));
      done += written;
      size += written;
    }
  }

  function rotate() {
    closeSync(file);
    renameSync(path, `${path}.1`);
    file = openSync(path, "a", 0o600);
    size = 0;
  }
}

/** The last lines of a log, for an error message; empty where there is no log. */
export function lastLines(path: string, count: number): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
  return text.trimEnd().split("\n").slice(-count).join("\n");
}
