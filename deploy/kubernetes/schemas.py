"""Writes one strict JSON schema a kind from Kubernetes' own OpenAPI description: schemas.py swagger.json DIRECTORY.

Strict: a field that is not known is an error. The files are named as kubeconform looks for them.
"""

import json
import pathlib
import sys

source, target = sys.argv[1], pathlib.Path(sys.argv[2])
definitions = json.load(open(source))["definitions"]
scalar = {"anyOf": [{"type": "string"}, {"type": "number"}]}


def strict(schema):
    """The schema with unknown fields forbidden, and with what Kubernetes' own types mean."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "int-or-string":
        return scalar
    out = {key: strict(value) for key, value in schema.items() if key != "description" or not isinstance(value, str)}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        out["additionalProperties"] = False
    return out


known = {name: strict(schema) for name, schema in definitions.items()}
known["io.k8s.apimachinery.pkg.api.resource.Quantity"] = scalar


def needs(node, found):
    """Adds to found the names of all definitions that node refers to."""
    if isinstance(node, dict):
        ref = node.get("$ref")
        if isinstance(ref, str) and (name := ref.removeprefix("#/definitions/")) not in found:
            found.add(name)
            needs(known[name], found)
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            needs(item, found)
    return found


target.mkdir(parents=True)
for name, schema in known.items():
    for kind in schema.get("x-kubernetes-group-version-kind", []):
        group, version = kind["group"], kind["version"]
        api = f"{group}/{version}" if group else version
        fields = {**schema.get("properties", {}), "apiVersion": {"enum": [api]}, "kind": {"enum": [kind["kind"]]}}
        required = sorted({*schema.get("required", []), "apiVersion", "kind"})
        whole = {**schema, "properties": fields, "required": required,
                 "definitions": {n: known[n] for n in sorted(needs(schema, set()))}}
        file = "-".join([kind["kind"], *([group.split(".")[0]] if group else []), version]).lower() + ".json"
        (target / file).write_text(json.dumps(whole))
