"""The whole chain, as the operator runs it, over real labelled photos with a real model."""

import importlib.util

PHOTOS = 160    # of 1,128; `python benchmarks/chain.py` runs them all


def test_labelled_photos_become_right_facesets_and_the_second_run_adds_nothing(shared, checkout, tmp_path):
    spec = importlib.util.spec_from_file_location("chain", checkout / "benchmarks" / "chain.py")
    chain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(chain)
    result = chain.run(shared / "photos", shared / "models" / "insightface_small", PHOTOS, tmp_path)

    stage, embed, cluster = (result["first"][name] for name in
                             ("immich_stage.py", "embed_worker.py", "cluster_immich.py"))
    outcomes = ("staged_count", "deduped_against_existing", "deduped_against_staged", "skipped_no_big_face",
                "skipped_no_faces", "skipped_excluded", "skipped_foreign_owner", "skipped_download_error",
                "not_needed_yet", "pending")
    assert stage["gate_held"] and stage["total_assets_seen"] == PHOTOS == sum(stage[name] for name in outcomes)
    assert embed["photos"] == stage["staged_count"] == embed["with_faces"] + embed["noface"] + embed["errors"]
    assert cluster["faces"] == embed["faces"] == sum(cluster[name] for name in (
        "held", "known", "dropped", "ambiguous", "rejected", "new", "thin", "leftover"))

    again = result["second"]
    assert again["immich_stage.py"]["bytes_downloaded"] == 0
    assert again["embed_worker.py"]["done_before"] == embed["photos"]
    assert again["cluster_immich.py"]["exported"]["facesets"] == []

    judged = result["judged"]
    assert judged["facesets"] >= 4 and judged["pure_facesets"] >= 0.75
    assert judged["of_them_faces_in_right_faceset"] >= 0.8
    assert list(result["faces_per_png"]) == ["1"], "a picture shows no face, or more than one"
