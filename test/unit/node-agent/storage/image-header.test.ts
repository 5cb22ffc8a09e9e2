import assert from "node:assert/strict";
import { checkImage, parseImageHeader } from "../../../../node-agent/storage/image-header.ts";
import type { Expected } from "../../../../node-agent/storage/image-header.ts";
import { StorageError } from "../../../../node-agent/storage/storage.ts";

const answer = (change: Record<string, unknown> = {}) =>
  JSON.stringify({ format: "qcow2", "virtual-size": 1 << 20, "format-specific": { type: "qcow2", data: { compat: "1.1" } }, ...change });
const overlay = { "backing-filename": "/pool/base.raw", "backing-filename-format": "raw" };
const plain: Expected = { name: "a", format: "qcow2" };
const based: Expected = { ...plain, base: { path: "/pool/base.raw", format: "raw" } };

describe("checkImage", () => {
  const good: [string, Record<string, unknown>, Expected][] = [
    ["a plain image", {}, plain],
    ["an overlay on the declared base", overlay, based],
    ["a flattened image of which a base is declared", {}, based],
  ];
  for (const [what, change, expected] of good) {
    it(`takes ${what}`, () => checkImage(parseImageHeader(answer(change)), expected));
  }

  const bad: [string, Record<string, unknown>, Expected, string][] = [
    ["another format than declared", { format: "raw" }, plain, "FormatMismatch"],
    ["a base that is not declared", overlay, plain, "UnsafeImage"],
    ["another base", { ...overlay, "backing-filename": "/etc/shadow" }, based, "UnsafeImage"],
    ["a relative base", { ...overlay, "backing-filename": "base.raw" }, based, "UnsafeImage"],
    ["a base of another format", { ...overlay, "backing-filename-format": "qcow2" }, based, "FormatMismatch"],
    ["a base whose format is left to guess", { "backing-filename": "/pool/base.raw" }, based, "FormatMismatch"],
    ["a data file", { "format-specific": { data: { "data-file": "/etc/shadow" } } }, plain, "UnsafeImage"],
    ["encryption", { encrypted: true }, plain, "UnsafeImage"],
    ["encryption by LUKS", { "format-specific": { data: { encrypt: { format: "luks" } } } }, plain, "UnsafeImage"],
    ["a size beyond reason", { "virtual-size": 2 ** 50 }, plain, "UnsafeImage"],
    ["no size", { "virtual-size": 0 }, plain, "UnsafeImage"],
  ];
  for (const [what, change, expected, fault] of bad) {
    it(`refuses ${what}`, () => {
      assert.throws(() => checkImage(parseImageHeader(answer(change)), expected), (error) => error instanceof StorageError && error.fault === fault);
    });
  }

  it("refuses an answer that it cannot read", () => {
    for (const text of ["", "[]", "{}", "null", '{"format": 1, "virtual-size": 2}']) assert.throws(() => parseImageHeader(text), StorageError, text);
  });
});
