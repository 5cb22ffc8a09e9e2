/** The house's rules, as a test: who may import whom, what stays behind a port, and alarms on length. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";

const ROOT = join(import.meta.dirname, "..");
const PLACES = ["gen", "lib", "api-server", "controller", "node-agent", "cli", "test", "bench", "scripts"] as const;
const PROGRAMS = ["api-server", "controller", "node-agent", "cli"];
const FILE_LINES_ALARM = 400;

type Source = { path: string; text: string; code: string; imports: string[] };

function sources(place: string): Source[] {
  const directory = join(ROOT, place);
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => {
      const path = join(place, file);
      const text = readFileSync(join(ROOT, path), "utf8");
      return { path, text, code: withoutComments(text), imports: importsOf(path, text) };
    });
}

const withoutComments = (text: string) => text.replaceAll(/\/\*[^]*?\*\//g, "").replaceAll(/(^|\s)\/\/.*$/gm, "");

/** Module names, relative ones as paths from the root. */
function importsOf(path: string, text: string): string[] {
  return [...text.matchAll(/(?:from|import\(|^import)\s*"([^"]+)"/gm)].map(([, name]) =>
    name!.startsWith(".") ? relative(ROOT, normalize(join(ROOT, dirname(path), name!))) : name!);
}

const all = PLACES.filter((place) => place !== "gen").flatMap(sources);
const shipped = all.filter(({ path }) => ["lib", ...PROGRAMS].some((place) => path.startsWith(`${place}/`)));
const placeOf = (path: string) => path.split("/")[0]!;

/** Every file for which `wrong` gives a reason, as "path: reason". */
const offenders = (files: Source[], wrong: (file: Source) => string | false | undefined) =>
  files.flatMap((file) => {
    const reason = wrong(file);
    return reason ? [`${file.path}: ${reason}`] : [];
  });

describe("tidy", () => {
  it("imports only from earlier places, and programs never from each other", () => {
    const allowed: Record<string, string[]> = {
      lib: ["gen", "lib"],
      ...Object.fromEntries(PROGRAMS.map((program) => [program, ["gen", "lib", program]])),
    };
    assert.deepEqual(offenders(shipped, ({ path, imports }) => {
      const wrong = imports.filter((name) => PLACES.includes(placeOf(name) as never) && !allowed[placeOf(path)]!.includes(placeOf(name)));
      return wrong.length > 0 && `imports ${wrong.join(", ")}`;
    }), []);
  });

  it("keeps the FFI, the database and the environment behind their ports", () => {
    const behind: [string, RegExp][] = [
      ["koffi", /^node-agent\/libvirt\//],
      ["node:sqlite", /^api-server\/store\/sqlite/],
    ];
    assert.deepEqual(offenders(shipped, ({ path, imports }) =>
      behind.filter(([name, home]) => imports.includes(name) && !home.test(path)).map(([name]) => `imports ${name}`).join()), []);
    const environment = /^(lib\/config|[a-z-]+\/config|cli\/context|cli\/main)\.ts$|^node-agent\/libvirt\//;
    assert.deepEqual(offenders(shipped, ({ path, code }) => !environment.test(path) && code.includes("process.env") && "reads process.env"), []);
  });

  it("takes time and chance as arguments", () => {
    const banned: [RegExp, string][] = [
      [/\bDate\.now\(|\bnew Date\(\)/, "the clock: take a Clock"],
      [/\bsetTimeout\(|\bsetInterval\(|timers\/promises|AbortSignal\.timeout|\bsetImmediate\(/, "a timer: take a Clock"],
      [/\bperformance\.now|\bhrtime\b/, "a stop-watch: take a Clock"],
      [/\bMath\.random\(|\brandomUUID\(|\brandomBytes\(/, "chance: take a Random"],
    ];
    // The store's worker and the driver child are adapters: each is a process or thread of its own.
    const adapters = /^lib\/(clock|random)\.ts$|^api-server\/store\/sqlite|^node-agent\/libvirt\//;
    assert.deepEqual(offenders(shipped.filter(({ path }) => !adapters.test(path)), ({ code }) =>
      banned.filter(([pattern]) => pattern.test(code)).map(([, what]) => what).join("; ")), []);
  });

  it("keeps deciding files pure", () => {
    const pure = /\/(decide|phases|phase|filters|scores|schedule|admission|snapshot|fit|power)\.ts$|^(api-server\/(kinds|validate|subresources)|node-agent\/domain)\//;
    const impure = /^(node:(?!crypto|assert|url|path)|koffi|nice-grpc$|@grpc|pino)/;
    assert.deepEqual(offenders(shipped.filter(({ path }) => pure.test(path) && !/schema-rules|rules-image/.test(path)), ({ imports, code }) => {
      const wrong = imports.filter((name) => impure.test(name));
      if (wrong.length > 0) return `imports ${wrong.join(", ")}`;
      return /\bawait\b/.test(code) && "awaits";
    }), []);
  });

  it("uses no escape from the type checker", () => {
    assert.deepEqual(offenders(all, ({ code, path }) => path !== "test/tidy.test.ts" && /:\s*any\b|\bas any\b|@ts-(ignore|expect-error|nocheck)/.test(code) && "escapes the types"), []);
  });

  it("has no file past the alarm, nothing left to do, and a first comment in each", () => {
    assert.deepEqual(offenders(all, ({ text }) => {
      const lines = text.split("\n").length;
      return lines > FILE_LINES_ALARM && `${lines} lines`;
    }), []);
    assert.deepEqual(offenders(all, ({ text, path }) => path !== "test/tidy.test.ts" && /\b(TODO|FIXME|XXX)\b/.test(text) && "something left to do"), []);
    assert.deepEqual(offenders(shipped, ({ text }) => !/^(#!.*\n)?\/\*\*|^\/\//.test(text) && "no opening comment"), []);
  });

  it("has no dead files", () => {
    const entries = /(^|\/)main\.ts$|\.test\.ts$|^(scripts|bench)\/|^test\/(reporter|lab\/guard|contract\/|lab\/)|generate-constants|worker\.ts$|-(reader|writer|checker)\.ts$/;
    const imported = new Set(all.flatMap(({ imports }) => imports));
    assert.deepEqual(all.map(({ path }) => path).filter((path) => !imported.has(path) && !entries.test(path)), []);
  });
});
