// Simulated export page, part 2: the parameters of im_patch.

const UNSET = "NotSpecified";
const REQUIRED = ["ImTStart", "ImTStop", "ImTRef", "ImX", "ImY", "ImWide", "ImHigh"];

async function imPatchClicked() {
  const chosen = element.OptionImPatch.checked;
  show("ProcessImPatch", chosen);
  element.OptionNone.checked = !chosen;
  if (!chosen) {
    return;
  }
  element.ImVerify.textContent = "Not Ready";
  const common = {op: "rs_list", ds: page.recordSet, seg: "magnetogram", l: "1", dbhost: "hmidb2",
                  key: "T_REC,T_REC_step,CAR_ROT,CRLN_OBS,CRLT_OBS,CDELT1,CTYPE1"};
  try {
    const answers = await Promise.all(["1", "-1"].map((n) => ask("ajax/jsoc_info", {...common, n: n})));
    const [first, last] = answers.map((answer) =>
      Object.fromEntries(answer.keywords.map((key) => [key.name, key.values[0]])));
    element.ImTStart.value = first.T_REC;
    element.ImTStop.value = last.T_REC;
    element.ImTDelta.value = first.T_REC_step + "s";
  } catch (error) {
    alert("Processing setup code failed to get record info for n=1 of " + page.recordSet);
  }
  setImPatch();
}

// the fields are filled without a change event, as on the original: they are checked at the next one
async function noaaChanged() {
  const text = element.ImNOAA.value.trim();
  if (!text || text === UNSET) {
    element.ImNOAA.value = UNSET;
    return;
  }
  const number = Number(text) < 7000 ? Number(text) + 10000 : Number(text);
  element.ImNOAA.value = String(number);
  let answer;
  try {
    answer = await ask("ajax/jsoc_info_jsoc2", {op: "rs_list", key: "ObservationTime,LatitudeHG,LongitudeCM",
                                                ds: "su_rsb.NOAA_ActiveRegions[][" + number + "]"});
  } catch (error) {
    alert("Something went wrong with NOAA num data request");
    element.ImNOAA.value = "Not Found";
    return;
  }
  if (answer.status > 0 || answer.count === 0) {
    element.ImNOAA.value = number + " noRecords";
    return;
  }
  const columns = Object.fromEntries(answer.keywords.map((key) => [key.name, key.values]));
  let best = -1;
  columns.LongitudeCM.forEach((longitude, row) => {
    const distance = Math.abs(Number(longitude));
    if (distance < 999 && (best < 0 || distance < Math.abs(Number(columns.LongitudeCM[best])))) {
      best = row;
    }
  });
  if (best < 0) {
    element.ImNOAA.value = number + " noRegion";
    return;
  }
  element.ImLocType.selectedIndex = 0;
  element.ImTRef.value = columns.ObservationTime[best];
  element.ImX.value = columns.LongitudeCM[best];
  element.ImY.value = columns.LatitudeHG[best];
}

function setImPatch() {
  let complete = true;
  REQUIRED.forEach((id) => {
    const given = element[id].value.trim() !== "" && element[id].value !== UNSET;
    element[id].classList.toggle("missing", !given);
    complete = complete && given;
  });
  element.ImVerify.textContent = complete ? "OK to submit" : "Not Ready";
  if (page.exportState === "submit") {
    setExportState("not ready");
  }
  return complete;
}

function processingArguments() {
  if (!element.ProcessingCheckbox.checked || !element.OptionImPatch.checked) {
    sizeratio = 1;
    return "n=0|no_op";  // the whole disk, without a word
  }
  const value = (id) => element[id].value.trim();
  const limb = (id, box) => (element[box].checked ? UNSET : value(id));
  sizeratio = (Number(value("ImWide")) * Number(value("ImHigh"))) / 4096 ** 2;
  return "n=0|im_patch" + [
    "", "t_start=" + limb("ImTStart", "ImEastLimb"), "t_stop=" + limb("ImTStop", "ImWestLimb"),
    "t=" + (element.ImTrack.checked ? 0 : 1), "r=" + (element.ImRegister.checked ? 1 : 0),
    "c=" + (element.ImCrop.checked ? 1 : 0), "cadence=" + value("ImTDelta"), "locunits=" + value("ImLocType"),
    "boxunits=" + value("ImBoxType"), "t_ref=" + value("ImTRef"), "x=" + value("ImX"), "y=" + value("ImY"),
    "width=" + value("ImWide"), "height=" + value("ImHigh")].join(",");
}

function resetImPatch() {
  ["ImNOAA", "ImTRef", "ImX", "ImY", "ImWide", "ImHigh"].forEach((id) => { element[id].value = UNSET; });
  setImPatch();
}

element.OptionImPatch.addEventListener("click", imPatchClicked);
element.ImNOAA.addEventListener("change", noaaChanged);
[...REQUIRED, "ImTDelta", "ImLocType", "ImBoxType"].forEach((id) => element[id].addEventListener("change", setImPatch));
element.ResetImPatchButton.addEventListener("click", resetImPatch);
