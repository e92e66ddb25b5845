// Holds ../*.json against Grafana's own types (the foundation SDK's): writes each dashboard as a typed literal, and compiles it.
//   node check.mjs OUT       OUT: a directory with node_modules; what is compiled is left there
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const out = process.argv[2];
const here = import.meta.dirname;
const sdk = "@grafana/grafana-foundation-sdk";
const kinds = { timeseries: "timeseries", stat: "stat", text: "text" };
// JSON holds the text of an enum's member, so enums are taken as their texts, all the way down.
let text = `import * as dashboard from "${sdk}/dashboard";
import * as prometheus from "${sdk}/prometheus";
${Object.values(kinds).map((k) => `import * as ${k} from "${sdk}/${k}";`).join("\n")}
type Plain<T> = T extends string ? \`\${T}\` : T extends number | boolean | null | undefined ? T : T extends Function ? never
  : T extends (infer U)[] ? Plain<U>[] : T extends object ? { [K in keyof T]: K extends \`_\${string}\` ? never : Plain<T[K]> } : T;
type Query = Omit<Plain<prometheus.Dataquery>, "_implementsDataqueryVariant"> ;
`;
const literals = [];
const typed = (type, value) => literals.push(`const v${literals.length}: ${type} = ${JSON.stringify(value)};`);
for (const file of readdirSync(join(here, "..")).filter((f) => f.endsWith(".json"))) {
  const { panels, ...whole } = JSON.parse(readFileSync(join(here, "..", file), "utf8"));
  literals.push(`// ${file}`);
  typed("Plain<dashboard.Dashboard>", whole);
  for (const panel of panels) {
    if (panel.type === "row") { typed("Plain<dashboard.RowPanel>", panel); continue; }
    const { options, fieldConfig, targets, ...rest } = panel;
    const custom = fieldConfig?.defaults.custom;
    const plain = fieldConfig && { ...fieldConfig, defaults: { ...fieldConfig.defaults, custom: undefined } };
    typed("Plain<dashboard.Panel>", { ...rest, fieldConfig: plain });
    typed(`Plain<${kinds[panel.type]}.Options>`, options);
    if (custom) typed(`Plain<${kinds[panel.type]}.FieldConfig>`, custom);
    for (const target of targets ?? []) typed("Query", target);
  }
}
writeFileSync(join(out, "dashboards.ts"), text + literals.join("\n") + "\n");
const options = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "false", "--skipLibCheck", "--module", "nodenext", "--moduleResolution", "nodenext", "--target", "es2022"];
const ran = spawnSync(process.execPath, [join(out, "node_modules/typescript/bin/tsc"), ...options, "dashboards.ts"], { cwd: out, encoding: "utf8" });
process.stdout.write(ran.stdout);
process.stderr.write(ran.stderr);
if (ran.status === 0) console.log(`${literals.filter((l) => l.startsWith("const")).length} parts of the dashboards are as Grafana's types say`);
process.exit(ran.status ?? 1);
