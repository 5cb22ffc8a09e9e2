/** The lab's wires: a bridge with the test's own address on it, one veth pair for each host, and ways to cut them. */
import type { Random } from "../../lib/random.ts";
import { CommandFailed, run } from "./process.ts";

/** 10.64.0.0/10, away from the low networks that machines and containers tend to use. */
const FIRST_SECOND_OCTET = 64;
const SECOND_OCTETS = 64;
const BRIDGE_LAST_OCTET = 254;
const SUBNET_TRIES_MAX = 1_000;
export const PREFIX_BITS = 24;

export type Direction = "both" | "from-host" | "to-host";

export const bridgeAddressOf = (subnet: string) => `${subnet}.${BRIDGE_LAST_OCTET}`;
export const hostAddressOf = (subnet: string, index: number) => `${subnet}.${index + 1}`;

/** A /24 by its first three octets, unlike every network this machine knows. */
export async function* freeSubnets(random: Random): AsyncGenerator<string> {
  const taken = (await run("ip", ["-4", "-o", "addr"])).match(/\d+(\.\d+){3}\/\d+/g) ?? [];
  const routed = (await run("ip", ["-4", "route", "show", "table", "all"])).match(/\d+(\.\d+){3}\/\d+/g) ?? [];
  for (let tries = 0; tries < SUBNET_TRIES_MAX; tries += 1) {
    const subnet = `10.${FIRST_SECOND_OCTET + Math.floor(random.fraction() * SECOND_OCTETS)}.${Math.floor(random.fraction() * 256)}`;
    if (![...taken, ...routed].some((network) => overlaps(network, `${subnet}.0/${PREFIX_BITS}`))) yield subnet;
  }
}

export function overlaps(left: string, right: string): boolean {
  const [a, b] = [parseNetwork(left), parseNetwork(right)];
  const bits = Math.min(a.bits, b.bits);
  const shift = 32 - bits;
  return bits === 0 || a.address >>> shift === b.address >>> shift;
}

function parseNetwork(text: string): { address: number; bits: number } {
  const [address, bits] = text.split("/");
  return { address: address!.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0), bits: Number(bits) };
}

export async function addBridge(bridge: string, address: string): Promise<void> {
  await run("ip", ["link", "add", "name", bridge, "type", "bridge"]);
  await run("ip", ["addr", "add", `${address}/${PREFIX_BITS}`, "dev", bridge]);
  await run("ip", ["link", "set", bridge, "up"]);
}

export async function attachHost({ bridge, link, pid }: { bridge: string; link: string; pid: number }): Promise<void> {
  await run("ip", ["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", String(pid)]);
  await run("ip", ["link", "set", link, "master", bridge, "up"]);
}

/** A link that is gone already is what was asked for. */
export async function removeLink(link: string): Promise<void> {
  try {
    await run("ip", ["link", "del", link]);
  } catch (error) {
    if (!(error instanceof CommandFailed) || (await linkExists(link))) throw error;
  }
}

export async function linkExists(link: string): Promise<boolean> {
  return (await run("ip", ["-br", "link"])).split("\n").some((line) => line.split(/[@ ]/, 1)[0] === link);
}

/** Both ways is a pulled cable; one way is a filter in the host, which its carrier does not show. */
export async function setLink({ link, pid1, direction, cut }: { link: string; pid1: number; direction: Direction; cut: boolean }): Promise<void> {
  if (direction === "both") {
    await run("ip", ["link", "set", link, cut ? "down" : "up"]);
    return;
  }
  const rule = direction === "from-host" ? ["OUTPUT", "-o", "eth0"] : ["INPUT", "-i", "eth0"];
  await run("nsenter", ["-t", String(pid1), "-n", "iptables", "-w", cut ? "-I" : "-D", ...rule, "-j", "DROP"]);
}
