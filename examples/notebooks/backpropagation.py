# %% [markdown]
# # Backpropagation by hand
#
# A network of two inputs, two hidden units and one output, sigmoid everywhere, on numbers that fit on a
# page. First the whole pass, worked out and compared with autograd; then a solution as a student hands it
# in, with slips in it.

# %%
import thalweg

NETWORK = """
x = [2, 3]; y = 1
W1 = [[1, 2], [3, 4]]; b1 = [2, 4]
w_o = [1, 2]; b_o = 3
B = W1 @ x + b1
C = sigmoid(B)
E = w_o @ C + b_o
F = sigmoid(E)
L = 1/2 (F - y)^2
"""
sheet = thalweg.worked(NETWORK)
print(sheet)

# %% [markdown]
# Forward, $F$ is already 0.9975 where 1 is wanted. Backward, each gradient is the one above it times a
# local derivative. The weights' gradient is an outer product, row by hidden unit:

# %%
for name in ("b_o", "w_o", "b1", "W1"):
    print(f"∂L/∂{name} =", sheet.graph[name].gradient)

# %% [markdown]
# ## A solution with slips
#
# Each line is judged against what stands before it: a number that follows correctly from a wrong one is
# *carried on*, and may be given its marks.

# %%
SOLUTION = r"""
Given $W_1 = \begin{pmatrix}1&2\\3&4\end{pmatrix}$, $b_1 = \begin{pmatrix}2\\4\end{pmatrix}$,
$w_o = (1, 2)$, $b_o = 3$, $x = \begin{pmatrix}2\\3\end{pmatrix}$, $y = 1$.

$B = W_1 x + b_1 = \begin{pmatrix}8 + 2\\18 + 4\end{pmatrix} = \begin{pmatrix}10\\22\end{pmatrix}$

$C = \sigma(B) = \begin{pmatrix}0.99995\\1.00000\end{pmatrix}$

$E = w_o C + b_o = 0.99995 + 2.00000 + 3 = 5.99995$

$F = \sigma(E) = 0.99573$

$L = \frac12 (F - y)^2 = \frac12 (-0.00427)^2 = 9.12 \cdot 10^{-6}$

$\delta = \frac{\partial L}{\partial E} = (F - y)\, F (1 - F) = -0.00427 \cdot 0.99573 \cdot 0.00427 = -1.82 \cdot 10^{-5}$

$\frac{\partial L}{\partial b_o} = \delta = -1.82 \cdot 10^{-5}$
"""
checked = thalweg.check(SOLUTION, NETWORK)
print(checked)
for step in checked.steps:
    if step.verdict.value != "ok":
        right = f", right is {step.right}" if step.right else ""
        print(f"line {step.line}: {step.verdict.value}: {step.claimed}{right} {step.kind}")

# %% [markdown]
# The digits of F were written in the wrong order. All that follows is right for that F.
#
# ## The transposed outer product
#
# The most common slip in matrix notation: $x\,\delta^\top$ in the place of $\delta\,x^\top$.

# %%
page = r"""
$x = \begin{pmatrix}2\\3\end{pmatrix}$, $\delta = \begin{pmatrix}0.5\\-0.25\end{pmatrix}$

$\frac{\partial L}{\partial W} = \delta x^\top = \begin{pmatrix}1 & -0.5\\ 1.5 & -0.75\end{pmatrix}$
"""
slip = thalweg.check(page).first_wrong
print(f"line {slip.line}: right is {slip.right}; likely slip: {slip.kind}")

# %% [markdown]
# ## The rules, by symbols
#
# What was used above, derived with every rule and compared with autograd at random points:

# %%
print(thalweg.derive("1/2 (sigmoid(w^T z) - y)^2"))
