import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import type { StartEmulator } from "./emulator.ts";
import { createFront, type FrontProvider } from "./front.ts";
import { lockDir } from "./lock.ts";
import { portHolder } from "./port-holder.ts";
import { isCode } from "./process.ts";
import { createSupervisor } from "./supervisor.ts";
import { tokensIn } from "./tokens.ts";

export interface CloudOptions {
  /** Everything it keeps: deployed code, databases, secrets, logs, tokens. Made with mode 0700. */
  readonly dir: string;
  /** 0 = a free one. */
  readonly port: number;
  readonly emulators: Readonly<Record<string, StartEmulator>>;
  log(line: string): void;
}

export interface Cloud {
  readonly port: number;
  readonly url: string;
  /** Settles once every emulator has brought up what was deployed before. */
  readonly ready: Promise<void>;
  /** Stops every runtime and ends. */
  close(): Promise<void>;
}

/** In its folder, while it runs: its URL. */
export const addressFile = "address";

/** A problem of the machine that the user can mend; shown without a stack. */
export class CloudError extends Error {
  override readonly name = "CloudError";
}

/** Brings up the local cloud with all that was deployed to it before. Answers once it listens. */
export async function startCloud({ dir: given, port, emulators, log }: CloudOptions): Promise<Cloud> {
  const dir = resolve(given);
  const names = Object.keys(emulators);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  chmodSync(dir, 0o700);
  const unlock = await lockDir(dir);
  try {
    const tokens = tokensIn(dir, names);
    const gates = Object.fromEntries(
      names.map((name) => [name, Promise.withResolvers<Awaited<ReturnType<StartEmulator>>>()]),
    );
    const providers: Record<string, FrontProvider> = {};
    for (const name of names) {
      const runtimes = await createSupervisor({ dir: join(dir, "runtimes", name), log });
      providers[name] = { emulator: gates[name]!.promise, runtimes, token: tokens[name]! };
    }
    const server = createFront({ providers, dir, log });
    await new Promise<void>((listening, reject) =>
      server.once("error", reject).listen(port, "127.0.0.1", listening),
    ).catch(async (error: unknown) => {
      throw isCode(error, "EADDRINUSE") ? await portInUse(port) : error;
    });
    const bound = (server.address() as AddressInfo).port;
    const url = `http://127.0.0.1:${bound}`;
    const address = join(dir, addressFile);
    writeFileSync(address, `${url}\n`, { mode: 0o600 });
    // Requests are taken from here on and wait for their emulator: runtimes call each other as soon as they are back.
    const ready = Promise.all(
      names.map(async (name) => {
        const home = join(dir, name);
        mkdirSync(home, { recursive: true, mode: 0o700 });
        const host = {
          dir: home,
          url: `${url}/${name}`,
          token: tokens[name]!,
          runtimes: providers[name]!.runtimes,
          log: (line: string) => log(`${name}: ${line}`),
        };
        const start = emulators[name]!(host);
        gates[name]!.resolve(start);
        await start;
      }),
    ).then(() => log(`ready on ${url}`));
    return { port: bound, url, ready, close };

    async function close(): Promise<void> {
      server.close();
      server.closeIdleConnections();
      await Promise.all(Object.values(providers).map(({ runtimes }) => runtimes.close()));
      await Promise.all(
        Object.values(providers).map(async ({ emulator }) => {
          // One that never came up has nothing to close; whoever waits for `ready` is told why.
          const started = await emulator.catch(() => undefined);
          await started?.close?.();
        }),
      );
      server.closeAllConnections();
      rmSync(address, { force: true });
      unlock();
    }
  } catch (error) {
    unlock();
    throw error;
  }
}

async function portInUse(port: number): Promise<CloudError> {
  return new CloudError(
    `port ${port} is in use by ${await portHolder(port)}. End that process, or choose another port: ` +
      `\`npx federation cloud start --port ${port + 10}\`, and the same port in the endpoints of your stack config`,
  );
}
