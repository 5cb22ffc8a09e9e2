/**
 * The firmware variables of machines that boot by EFI. They belong to the machine and not to one run of it, so they stay
 * when a run ends; beside each lies whose they are, so that the control plane can be asked whether that machine still is.
 */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { readKept, writeKept } from "../kept-file.ts";
import { explained, hasCode } from "./durable-file.ts";
import { firmwareVariablesDirectory, nvramPath } from "./paths.ts";

/** A machine by what the control plane knows it by. */
export type VariablesOwner = { namespace: string; vm: string; vmUid: string };

const schema = v.object({ namespace: v.string(), vm: v.string(), vmUid: v.string() });
const SUFFIX = ".json";

export class FirmwareVariables {
  readonly #stateDirectory: string;
  constructor(stateDirectory: string) {
    this.#stateDirectory = stateDirectory;
  }

  /** Before the variables are made, or they could be nobody's. */
  claim({ namespace, vm, vmUid }: VariablesOwner): void {
    const text = JSON.stringify({ namespace, vm, vmUid });
    const path = this.#ownerPath(vmUid);
    if (readKept(path) !== text) writeKept(path, text);
  }

  async owners(): Promise<VariablesOwner[]> {
    const directory = firmwareVariablesDirectory(this.#stateDirectory);
    const names = await readdir(directory).catch((error: unknown) => {
      if (hasCode(error, "ENOENT")) return [];
      throw explained(error, `Cannot read "${directory}"`);
    });
    const texts = names.filter((name) => name.endsWith(SUFFIX)).map((name) => readKept(join(directory, name)));
    return texts.filter((text) => text !== undefined).map((text) => v.parse(schema, JSON.parse(text)));
  }

  async remove(vmUid: string): Promise<void> {
    await rm(nvramPath(this.#stateDirectory, vmUid), { force: true });
    await rm(this.#ownerPath(vmUid), { force: true });
  }

  #ownerPath(vmUid: string): string {
    return nvramPath(this.#stateDirectory, vmUid).replace(/\.fd$/, SUFFIX);
  }
}
