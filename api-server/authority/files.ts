/**
 * The authority's directory: its own pair, and the pairs it keeps for the API server and the controller. Nobody else may
 * read it, and a file is either the old or the new one, whatever happens while it is written.
 */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";

const OTHERS = 0o077;

/** PEM texts. */
export type Pair = { certificate: string; key: string };

export class PairFiles {
  readonly #directory: string;

  /** Makes the directory where there is none. */
  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    requirePrivate(directory);
  }

  /** Undefined when there is neither of the two; half a pair is somebody's mistake and never overwritten. */
  read(name: string): Pair | undefined {
    const { certificate, key } = this.paths(name);
    const [hasCertificate, hasKey] = [existsSync(certificate), existsSync(key)];
    if (!hasCertificate && !hasKey) return undefined;
    if (!hasCertificate || !hasKey) {
      const [there, missing] = hasKey ? [key, certificate] : [certificate, key];
      throw new Error(`There is ${there} and no ${missing}: bring the other half, or remove this one`);
    }
    requirePrivate(key);
    return { certificate: readFileSync(certificate, "utf8"), key: readFileSync(key, "utf8") };
  }

  /** The key first: a certificate without its key would look like one that was brought along. */
  write(name: string, pair: Pair): void {
    const paths = this.paths(name);
    replace(paths.key, pair.key, 0o600);
    replace(paths.certificate, pair.certificate, 0o644);
    sync(this.#directory);
  }

  paths(name: string): Pair {
    return { certificate: join(this.#directory, `${name}.pem`), key: join(this.#directory, `${name}.key`) };
  }
}

function requirePrivate(path: string): void {
  const mode = statSync(path).mode & 0o777;
  if ((mode & OTHERS) === 0) return;
  throw new Error(`${path} can be used by others (mode ${mode.toString(8).padStart(3, "0")}): take their rights away with "chmod go= ${path}"`);
}

function replace(path: string, text: string, mode: number): void {
  const draft = `${path}.new`;
  const file = openSync(draft, "w", mode);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
}

function sync(directory: string): void {
  const handle = openSync(directory, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
