# %% [markdown]
# # My network does not train
#
# Ten layers of sigmoid on handwritten digits: the loss does not move. What is wrong, and what helps? Hand
# over the model, the loss, the data and how you train; thalweg examines a copy, names what it finds with
# its evidence, and proposes a remedy only after trying it.

# %%

import thalweg

problem = thalweg.problems.deep_sigmoid_digits(depth=8, width=64)
examination = thalweg.examine(problem, budget="25s")
print(examination)

# %% [markdown]
# The page for it, with pictures, in one file that opens offline:

# %%
examination.save("examination.html")
for finding in examination.findings:
    print(f"- {finding.sentence}")

# %% [markdown]
# ## Apply what was proved
#
# A remedy is a function from problem to problem; its source edit is shown as code.

# %%
proved = examination.proved
for remedy in proved:
    print(f"{remedy.name}: {remedy.outcome}")
    print(remedy.code)
