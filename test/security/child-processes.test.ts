/** What the agent starts: programs with an argument list, each known by the file that starts it, and never a shell. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "../../node-agent/storage/command.ts";

const ROOT = join(import.meta.dirname, "../..");
/** By the file that starts it; `command.ts` runs what others name, which the next list tells. */
const STARTED = {
  "node-agent/door/launcher.ts": ["spawn(process.execPath, [...SMALL, PROGRAM, ...kind], {"],
  "node-agent/inventory/canary.ts": ["spawn(emulator, canaryArguments(guest), {"],
  "node-agent/libvirt/child-transport.ts": ["fork(path, [], {"],
  "node-agent/storage/command.ts": ["spawn(program, args, {"],
};
/** Who names a program to `command.ts`. `sandbox.ts` puts programs of util-linux before another's. */
const NAMED = {
  "node-agent/console/bound.ts": ['program: "fallocate"'],
  "node-agent/storage/images.ts": ['program: "qemu-img"'],
  "node-agent/storage/sandbox.ts": ["program: program!", "program: form[0]!"],
};

const sources = ["api-server", "controller", "node-agent", "cli", "lib"].flatMap((place) =>
  readdirSync(join(ROOT, place), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => ({ path: join(place, file), text: readFileSync(join(ROOT, place, file), "utf8") })));

describe("child processes", () => {
  it("are started by these files and in this way alone", () => {
    const starting = sources.filter(({ text }) => /import \{[^}]*\} from "(node:)?child_process"|createRequire|process\.binding/.test(text));
    const calls = Object.fromEntries(starting.map(({ path, text }) => [path, text.match(/(?<![.#]|  )\b(spawn|fork|exec|execFile|spawnSync|execSync|execFileSync)\(.*\{/g)?.map((call) => call.replace(/\{ .*/, "{"))]));
    assert.deepEqual(calls, STARTED);
  });

  it("are named by these files and no others", () => {
    const named = sources.map(({ path, text }) => [path, text.match(/program: (?:"[a-z-]+"|form\[0\]!|program!)/g)] as const).filter(([, found]) => found !== null);
    assert.deepEqual(Object.fromEntries(named.map(([path, found]) => [path, [...found!]])), NAMED);
  });

  it("never go through a shell", () => {
    const shell = /\bshell:|\b(exec|execSync)\(|["'](\/bin\/)?(ba|da)?sh["']|["']-c["']/;
    // A pattern and a database have methods of that name, which start nothing.
    const suspects = sources.filter(({ text }) => shell.test(text.replaceAll(".exec(", "")));
    assert.deepEqual(suspects.map(({ path }) => path), []);
  });

  it("get each argument as it is, and an environment that is none of the agent's", async () => {
    process.env["DROVER_CANARY"] = "leaked";
    const text = await runCommand({ program: "printf", args: ["%s|", "$(id)", "`id`", "a b", ";id", "*"], timeoutMs: 5_000 });
    assert.equal(text, "$(id)|`id`|a b|;id|*|");
    assert.doesNotMatch(await runCommand({ program: "env", args: [], timeoutMs: 5_000 }), /leaked/);
    delete process.env["DROVER_CANARY"];
  });
});
