/** What libvirt 9.0 sent to the target of a real peer-to-peer migration, and the domain that the target's agent had meant. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { FrameReader } from "../../../../node-agent/door/rpc.ts";
import type { Frame } from "../../../../node-agent/door/rpc.ts";

const read = (name: string): string => readFileSync(join(import.meta.dirname, name), "utf8");

export const RECORDED_BYTES: Buffer = gunzipSync(Buffer.from(read("recorded-calls.txt"), "base64"));
export const INTENDED_XML: string = read("recorded-domain.xml");
export const MEMORY_URI = "tcp://10.110.201.2";

export const recordedFrames = (): Frame[] => new FrameReader(1 << 20).push(Buffer.from(RECORDED_BYTES));
